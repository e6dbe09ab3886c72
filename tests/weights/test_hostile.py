"""What a token, a server and other users of this machine could do to weights that are fetched, and do not."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.errors import ConfigError, NetworkError
from relight.values import Secret
from relight.weights.fetch import fetch
from relight.weights.part import Notes, write_notes
from relight.weights.patience import Patience
from relight.weights.progress import silent
from relight.weights.ranges import _write
from relight.weights.registry import resolve
from relight.weights.source import parse
from relight.weights.web import Request, opened
from tests.weights.bucket import TOKEN, Bucket, Trouble
from tests.weights.setting import Waits, want
from tests.weights.test_ranges import GS, LARGE


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with Bucket() as running:
        running.put("weights/dir/m.gguf", LARGE)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.host)
        monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", TOKEN)
        yield running


@pytest.mark.parametrize("text", ["s3cret\nx: y", "s3crét", "s3cret\x00"])
def test_token_that_cannot_be_sent_is_not_quoted(text: str) -> None:
    request = Request("http://127.0.0.1:9/m.gguf", "hf:a/b/m.gguf", token=Secret("HF_TOKEN", text))
    with pytest.raises(NetworkError, match="holds what no token can") as told, opened(request, Patience()):
        pass
    assert "s3cr" not in str(told.value)
    assert told.value.__cause__ is told.value.__context__ is None


@pytest.mark.parametrize("there", ["https://evil.example\\@127.0.0.1/m", "https://me@evil.example/m"])
def test_redirect_that_programs_read_differently_is_not_followed(bucket: Bucket, there: str) -> None:
    bucket.trouble = lambda _: Trouble(status=302, headers={"location": there})
    remote = resolve(parse(GS), patience=Patience(), report=silent)
    with pytest.raises(NetworkError, match="programs read differently"), opened(remote.request, Patience()):
        pass


@pytest.mark.parametrize("host", ["http://evil.example\\@127.0.0.1", "https://evil.example\\@storage.googleapis.com"])
def test_address_of_an_emulator_that_programs_read_differently_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="plain address"):
        resolve(parse(GS), patience=Patience(), report=silent, env={"STORAGE_EMULATOR_HOST": host})


@pytest.mark.parametrize(
    ("host", "is_shown"),
    [
        ("https://emulator.example", False),
        ("https://googleapis.com.example", False),
        ("https://storage.europe-west4.rep.googleapis.com", True),
        ("127.0.0.1:9023", True),
        ("", True),
    ],
)
def test_token_is_shown_to_google_and_this_machine_only(host: str, is_shown: bool) -> None:
    env = {"STORAGE_EMULATOR_HOST": host, "GOOGLE_OAUTH_ACCESS_TOKEN": TOKEN}
    assert (resolve(parse(GS), patience=Patience(), report=silent, env=env).request.token is not None) == is_shown


def test_block_of_which_a_full_disk_takes_a_part_is_not_taken_for_written(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (tmp_path / "part").open("wb", buffering=0) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            with pytest.raises(OSError, match="large"):
                _write(file.fileno(), bytes(1 << 20), 12_345)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        _write(file.fileno(), b"x" * (1 << 20), 12_345)
    assert (tmp_path / "part").read_bytes() == bytes(12_345) + b"x" * (1 << 20)


def test_part_that_is_a_link_is_not_written_through(bucket: Bucket, tmp_path: Path) -> None:
    wanted = want(GS, tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    wanted.part.parent.mkdir(parents=True)
    wanted.part.symlink_to(victim)
    assert fetch(wanted, patience=Waits().patience()).path.read_bytes() == LARGE
    assert victim.read_text() == "precious"
    assert not wanted.path.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else's")
def test_part_of_somebody_else_is_not_gone_on_with(bucket: Bucket, tmp_path: Path) -> None:
    wanted = want(GS, tmp_path)
    wanted.part.parent.mkdir(parents=True)
    wanted.part.write_bytes(b"GGUF" + bytes(len(LARGE) - 4))
    write_notes(wanted.part, Notes("gs:" + GS.removeprefix("gs:"), version="1", size=len(LARGE), ranges=((0, len(LARGE)),)))
    for file in wanted.part.parent.iterdir():
        os.chown(file, 65534, 65534)
    assert fetch(wanted, patience=Waits().patience()).path.read_bytes() == LARGE

"""An image's Dockerfile, its context, its inventory and its layers: rendered and listed, without a builder."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Callable
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution, distribution
from pathlib import Path

import pytest

import relight
from relight.cli.image import image
from relight.cli.imaging import extras, made, read
from relight.cli.target import facts_of
from relight.config.deploy import Gpu
from relight.config.load import load
from relight.deploy.builder import Building, Running, Size, build_argv, history_argv, run_argv, sizes
from relight.deploy.context import Entry, digest, inside, lay_out, pack
from relight.deploy.dockerfile import render
from relight.deploy.pins import pins
from relight.deploy.recipe import APP, ENGINE, PYTHON, WEIGHTS, File, Part, Pulled, Recipe, layers
from relight.deploy.sbom import inventory
from relight.deploy.wheel import repack
from relight.errors import ConfigError, RelightError, UsageError
from tests.weights.files import gguf

GOLDEN = Path(__file__).parent / "golden"
FOLDER = f"{WEIGHTS}/hf/me/tiny/main"
SMOL = File("smol", f"{FOLDER}/tiny.gguf", "ab" * 32, f"{FOLDER}/tiny.gguf.json")
OWN = File("own", f"{APP}/models/own.gguf", "cd" * 32, f"{WEIGHTS}/file/0123456789abcdef.json")
PLAIN = Recipe(service="portfolio", base="python:3.12-slim-bookworm", version="0.1.0", wheel="relight-0.1.0-py3-none-any.whl")
PROVIDER = '[models.cloud]\nurl = "https://api.example/v1"\napi_key = { secret = "CLOUD_KEY" }\n'

RECIPES = {
    "provider": PLAIN,
    "assistant": Recipe(
        service="portfolio",
        base="python:3.12-slim-bookworm",
        version="0.1.0",
        wheel="relight-0.1.0-py3-none-any.whl",
        engine="xllamacpp==2026.10.11549",
        weights=(SMOL, OWN),
        has_detector=True,
        has_snapshots=True,
    ),
    "gpu": Recipe(
        service="portfolio",
        base="python:3.12-slim-bookworm",
        version="0.1.0",
        wheel="relight-0.1.0-py3-none-any.whl",
        engine="xllamacpp==2026.10.11549",
        gpu=Gpu.L4,
        weights=(SMOL,),
    ),
    "ollama": Recipe(
        service="portfolio",
        base="python:3.12-slim-bookworm",
        version="0.1.0",
        wheel="relight-0.1.0-py3-none-any.whl",
        pulled=(Pulled("smol", "smollm2:135m"), Pulled("gemma", "gemma3:1b")),
    ),
}


@pytest.fixture
def service(tmp_path: Path) -> Callable[[str], str]:
    """Write a relight.toml into a folder that also holds what no image may have; returns its path."""
    (tmp_path / ".env").write_text("CLOUD_KEY=never-in-an-image\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("never-in-an-image")
    (tmp_path / "notes.txt").write_text("never-in-an-image")
    (tmp_path / "content").mkdir()
    (tmp_path / "content/about.md").write_text("# About\nMira builds things.\n")
    (tmp_path / "content/.draft.md").write_text("never-in-an-image")
    (tmp_path / "persona.md").write_text("You are Mira's assistant.\n")
    (tmp_path / "hooks.py").write_text("def after_answer(answered):\n    pass\n")

    def write(text: str) -> str:
        file = tmp_path / "relight.toml"
        file.write_text(text)
        return str(file)

    return write


def context_of(config_file: str) -> dict[str, bytes]:
    """The whole context by its places."""
    with made(read(config_file), lambda _: None) as found:
        return {one.place: one.source if isinstance(one.source, bytes) else one.source.read_bytes() for one in found.entries}


# --- the Dockerfile -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_dockerfile_is_the_golden_one(name: str) -> None:
    text = render(RECIPES[name])
    file = GOLDEN / f"{name}.Dockerfile"
    if "RELIGHT_GOLDEN" in os.environ:
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("name", RECIPES)
def test_every_stage_that_is_used_is_there_and_the_other_way_round(name: str) -> None:
    text = render(RECIPES[name])
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE))
    used = set(re.findall(r"(?:--from=|,from=|^FROM )(\w+)", text, re.MULTILINE))
    assert stages == used


@pytest.mark.parametrize("name", RECIPES)
def test_last_stage_only_copies_and_starts_without_a_shell_or_root(name: str) -> None:
    last = render(RECIPES[name]).rpartition("FROM ${BASE_IMAGE}\n")[2]
    assert not re.search(r"^RUN ", last, re.MULTILINE)
    assert "USER 65532:65532\n" in last
    starts = dict(re.findall(r"^(ENTRYPOINT|CMD) (.*)$", last, re.MULTILINE))
    assert [*json.loads(starts["ENTRYPOINT"]), *json.loads(starts["CMD"])][-3:] == [
        "serve",
        "--config",
        "/srv/app/relight.toml",
    ]


def test_pip_configuration_is_a_secret_wherever_pip_reaches_out() -> None:
    text = render(RECIPES["assistant"])
    calls = re.findall(r"^RUN (?:.*\\\n)*.*$", text, re.MULTILINE)
    reaching = [call for call in calls if "pip --disable" in call and "--no-index" not in call]
    assert len(reaching) == 2
    assert all("--mount=type=secret,id=pip,target=/etc/pip.conf" in call for call in reaching)


# --- the context ----------------------------------------------------------------------------------------------------


def test_context_holds_what_the_configuration_names_and_nothing_else(service: Callable[[str], str]) -> None:
    found = context_of(
        service(
            PROVIDER + '[assistant]\npersona = "persona.md"\nknowledge = ["content/*.md"]\ndetector = "ngram"\n'
            '[assistant.hooks]\nafter_answer = "hooks:after_answer"\n'
        )
    )
    assert {place for place in found if not place.startswith("relight-")} == {
        "Dockerfile",
        "requirements.txt",
        "constraints.txt",
        "app/relight.toml",
        "app/persona.md",
        "app/hooks.py",
        "app/content/about.md",
    }
    assert not [place for place, data in found.items() if b"never-in-an-image" in data]


def test_context_has_the_weights_with_their_digest(service: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf())
    sha256 = hashlib.sha256(gguf()).hexdigest()
    found = context_of(service('[models.smol]\nsource = "file:m.gguf"\ncontext = 2048\n'))
    assert found["weights/srv/app/m.gguf"] == gguf()
    assert found["weights/SHA256SUMS"].decode() == f"{sha256}  srv/app/m.gguf\n"
    (record,) = (json.loads(data) for place, data in found.items() if place.startswith("weights/srv/weights/file/"))
    assert (record["sha256"], record["size"]) == (sha256, len(gguf()))
    assert re.search(r"^xllamacpp==\S+$", found["constraints.txt"].decode(), re.MULTILINE)
    assert "xllamacpp" not in found["requirements.txt"].decode()


def test_variables_of_this_shell_are_not_in_the_image(
    service: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = service(PROVIDER)
    monkeypatch.setenv("RELIGHT_SERVICE__NAME", "elsewhere")
    monkeypatch.setenv("RELIGHT_WEIGHTS__DIR", str(tmp_path / "disk"))
    loaded = read(file)
    assert loaded.config.service.name == "relight"
    assert loaded.config.weights.dir == str(tmp_path / "disk")


@pytest.mark.parametrize("named", ["../outside.md", "/etc/hostname", ".env", ".git/config"])
def test_what_lies_outside_or_is_hidden_is_refused_by_its_key(named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^assistant\.persona: .* (lies outside|is hidden)"):
        inside("assistant.persona", named, tmp_path)


def test_hidden_file_that_the_configuration_names_does_not_enter(service: Callable[[str], str]) -> None:
    file = service(PROVIDER + '[assistant]\npersona = ".env"\n')
    with pytest.raises(ConfigError, match="nothing hidden enters an image"):
        context_of(file)


def test_extras_are_those_that_are_needed(service: Callable[[str], str]) -> None:
    assert extras(read(service(PROVIDER))) == []
    everything = (
        '[models.smol]\nsource = "file:m.gguf"\n[assistant]\npersona = "persona.md"\n'
        '[limits]\nstore = "redis://127.0.0.1/0"\n[prefixes]\nkey = { secret = "KEY" }\n'
    )
    assert extras(read(service(everything))) == ["assistant", "encryption", "llama-cpp", "redis"]


def test_vllm_is_refused_with_what_to_do(service: Callable[[str], str]) -> None:
    file = service('[models.big]\nsource = "hf:me/big"\nengine = "vllm"\n')
    with pytest.raises(ConfigError, match='"vllm" cannot be put into an image yet; use engine'):
        extras(read(file))


def test_laid_out_files_are_readable_by_anybody_and_private_ones_are_not_touched(tmp_path: Path) -> None:
    shared, private = tmp_path / "shared", tmp_path / "private"
    shared.write_bytes(b"weights")
    shared.chmod(0o644)
    private.write_bytes(b"snapshot")
    private.chmod(0o600)
    target = tmp_path / "context"
    lay_out([Entry("a/weights", shared), Entry("b/snapshot", private), Entry("c", b"text")], target)
    assert (target / "a/weights").samefile(shared)
    assert not (target / "b/snapshot").samefile(private)
    assert {one.stat().st_mode & 0o777 for one in (target / "b/snapshot", target / "c")} == {0o644}
    assert private.stat().st_mode & 0o777 == 0o600


def test_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone: cannot be put into the context"):
        lay_out([Entry("a", tmp_path / "gone")], tmp_path / "context")


def test_place_that_leads_out_of_the_context_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leads out of the context"):
        lay_out([Entry("../a", b"")], tmp_path)


def test_packed_context_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 5000)
    entries = [Entry("b/file", tmp_path / "file"), Entry("Dockerfile", b"FROM scratch\n")]
    first, second = io.BytesIO(), io.BytesIO()
    pack(entries, first)
    os.utime(tmp_path / "file", (1, 1))
    pack(entries[::-1], second)
    assert first.getvalue() == second.getvalue()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(first.getvalue()))) as archive:
        assert archive.getnames() == ["Dockerfile", "b/file"]


def test_digest_of_a_context_changes_with_its_files_and_not_with_their_order() -> None:
    one, other = Entry("a", b"1"), Entry("b", b"2")
    assert digest([one, other]) == digest([other, one])
    assert len({digest([one]), digest([Entry("a", b"2")]), digest([Entry("b", b"1")])}) == 3


# --- what is installed ----------------------------------------------------------------------------------------------


def package(folder: Path, name: str, version: str, *requires: str) -> Distribution:
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {one}" for one in requires)]
    at = folder / f"{name}-{version}.dist-info"
    at.mkdir()
    (at / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    return PathDistribution(at)


def test_pins_follow_extras_and_marks_as_the_image_has_them(tmp_path: Path) -> None:
    told = {
        "app": package(
            tmp_path,
            "app",
            "1",
            "web[fast]>=2",
            'engine>=1; extra == "run"',
            'coat; sys_platform == "win32"',
            'tea; extra == "x"',
        ),
        "web": package(tmp_path, "web", "2.1", 'loop>=3; extra == "fast"', 'cake; extra == "sweet"'),
        "loop": package(tmp_path, "loop", "3.0"),
        "engine": package(tmp_path, "engine", "7"),
    }
    found = pins("app", ["run"], told.__getitem__)
    assert found.versions == {"web": "2.1", "loop": "3.0", "engine": "7"}
    assert found.requirements() == "engine>=1\nweb[fast]>=2\n"
    assert found.constraints() == "engine==7\nloop==3.0\nweb==2.1\n"


def test_what_is_not_installed_here_is_an_error_with_the_command(tmp_path: Path) -> None:
    app = package(tmp_path, "app", "1", 'engine; extra == "run"')

    def find(name: str) -> Distribution:
        if name == "app":
            return app
        raise PackageNotFoundError(name)

    with pytest.raises(UsageError, match=r'engine is not installed here.*run: pip install "app\[run\]"'):
        pins("app", ["run"], find)


def test_wheel_of_this_checkout_is_whole_and_the_same_each_time() -> None:
    folder = Path(relight.__file__).parent
    wheel = repack(distribution("relight"), folder)
    assert wheel == repack(distribution("relight"), folder)
    with zipfile.ZipFile(io.BytesIO(wheel.data)) as archive:
        names = archive.namelist()
        assert {"relight/deploy/wheel.py", "relight/py.typed"} <= set(names)
        assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
        (record,) = (name for name in names if name.endswith(".dist-info/RECORD"))
        for line in archive.read(record).decode().splitlines():
            name, said, _ = line.split(",")
            if name != record:
                digest_of = hashlib.sha256(archive.read(name)).digest()
                assert said == f"sha256={base64.urlsafe_b64encode(digest_of).rstrip(b'=').decode()}"
    pages = {path.name for path in (folder / "serve/pages").iterdir() if path.is_file()}
    assert {f"relight/serve/pages/{name}" for name in pages} <= set(names)


def test_inventory_lists_python_debian_the_engines_library_and_weights(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="Debian"\nID=debian\n')
    (tmp_path / "var/lib/dpkg/status").write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u14\nTag: C\n more: d\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    )
    (tmp_path / "opt/relight/engine/lib").mkdir(parents=True)
    (tmp_path / "opt/relight/engine/lib/packages").write_text("libgomp1 12.2.0 amd64\n")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/SHA256SUMS").write_text(f"{'ab' * 32}  srv/weights/tiny.gguf\n")
    at = package(tmp_path, "My_Package", "1.0", "other")
    found = inventory("portfolio", tmp_path, [at])
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert [one.get("purl", one["name"]) for one in found["components"]] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64",
        "pkg:deb/debian/libgomp1@12.2.0?arch=amd64",
        "pkg:pypi/my-package@1.0",
        "tiny.gguf",
    ]
    assert found["components"][-1]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]


# --- the builder's words --------------------------------------------------------------------------------------------


def test_build_is_told_the_base_and_the_secret_by_reference() -> None:
    building = Building(tag="portfolio", base="mine", pip_config=Path("/srv/me/pip.conf"), more=["--network=host"])
    argv = build_argv("podman", Path("/c"), building)
    assert " ".join(argv) == (
        "podman build --tag portfolio --file /c/Dockerfile --build-arg=BASE_IMAGE=mine "
        "--secret=id=pip,src=/srv/me/pip.conf --network=host /c"
    )


def test_run_gives_nothing_that_the_service_does_not_need() -> None:
    running = Running(
        tag="portfolio", service="portfolio", port=9000, memory=8 << 30, cpus=4, is_guarded=False, secrets=("CLOUD_KEY",)
    )
    assert " ".join(run_argv("docker", running)) == (
        "docker run --rm --read-only --tmpfs=/tmp:rw,mode=1777 --cap-drop=all --security-opt=no-new-privileges "
        "--memory=8589934592b --cpus=4 --stop-timeout=10 --publish=127.0.0.1:9000:9000 --env=PORT=9000 --env=K_SERVICE=portfolio "
        "--env=K_REVISION=portfolio-local --env=K_CONFIGURATION=portfolio --env=RELIGHT_SERVER__PUBLIC=true "
        "--env=CLOUD_KEY portfolio"
    )


@pytest.mark.parametrize(("network", "is_guarded"), [("host", False), (None, True), ("host", True)])
def test_unguarded_service_is_never_opened_beyond_this_machine(network: str | None, is_guarded: bool) -> None:
    running = Running(tag="t", service="s", port=1, memory=1, cpus=1, is_guarded=is_guarded, network=network)
    argv = run_argv("podman", running)
    assert "--env=RELIGHT_SERVER__PUBLIC=true" not in argv
    assert ("--env=RELIGHT_SERVER__HOST=127.0.0.1" in argv) is (network == "host")


def steps(builder: str) -> str:
    """What a builder tells of an image of the provider's recipe."""
    told = [
        ("/bin/sh -c #(nop) CMD []", 0),
        ("/bin/sh -c #(nop) COPY dir:1 in /srv/app", 40),
        ("/bin/sh -c #(nop) COPY dir:2 in /usr/share/relight", 3),
        ("/bin/sh -c #(nop) COPY dir:3 in /opt/relight/code ", 500),
        ("/bin/sh -c #(nop) COPY dir:4 in /opt/relight/venv", 7000),
        ("/bin/sh -c #(nop) COPY dir:5 in /usr", 1000),
        ("/bin/sh -c #(nop) ADD file:6 in / ", 90000),
    ]
    if builder == "podman":
        return json.dumps([{"CreatedBy": by, "size": size} for by, size in told])
    as_docker = [(by.replace("/bin/sh -c #(nop) ", "").replace(" in ", " ").strip() + " # buildkit", size) for by, size in told]
    return "\n".join(json.dumps({"CreatedBy": by, "Size": str(size)}) for by, size in as_docker) + "\n"


@pytest.mark.parametrize("builder", ["podman", "docker"])
def test_layers_are_told_apart_by_where_they_went(builder: str) -> None:
    assert sizes(steps(builder), layers(PLAIN)) == [
        Size(Part.BASE, 90000),
        Size(Part.DEPENDENCIES, 8000),
        Size(Part.APP, 543),
    ]


def test_every_layer_goes_to_a_place_of_its_own() -> None:
    for recipe in RECIPES.values():
        targets = [layer.target for layer in layers(recipe)]
        assert len(set(targets)) == len(targets)
    assert {PYTHON, ENGINE} <= {layer.target for layer in layers(RECIPES["assistant"])}


def test_history_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(UsageError, match="history cannot be read"):
        sizes("no JSON", layers(PLAIN))
    assert history_argv("docker", "t")[-2] == "--format={{json .}}"


# --- the command ----------------------------------------------------------------------------------------------------


def test_print_makes_a_context_that_a_builder_can_take(
    service: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    image(["print", "-c", service(PROVIDER), "--context", str(target)], standalone_mode=False)
    assert (target / "Dockerfile").read_text() == capsys.readouterr().out
    for copied in re.findall(r"^COPY (?!--from)(.*) \S+$", (target / "Dockerfile").read_text(), re.MULTILINE):
        for name in re.findall(r"[\w./-]+", copied.replace("[", "").replace('"', "").replace(",", " ")):
            assert (target / name).exists()


def test_print_does_not_write_into_a_folder_that_holds_something(service: Callable[[str], str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not empty"):
        image(["print", "-c", service(PROVIDER), "--context", str(tmp_path)], standalone_mode=False)


def test_without_a_builder_the_error_says_what_to_install(
    service: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="neither podman nor docker is installed; install podman"):
        image(["build", "-c", service(PROVIDER)], standalone_mode=False)


def builder_that(does: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called podman that keeps the folder it is given, and does as told; returns where it keeps it."""
    kept = folder / "kept"
    program = folder / "bin/podman"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nfor last; do :; done\n[ "$1" = build ] && echo "$last" > {kept}\n{does}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return kept


def test_failed_build_leaves_nothing_behind(
    service: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = builder_that("exit 7", tmp_path, monkeypatch)
    with pytest.raises(RelightError, match="podman build ended with code 7"):
        image(["build", "-c", service(PROVIDER)], standalone_mode=False)
    assert kept.read_text().strip()
    assert not Path(kept.read_text().strip()).exists()


def test_build_tells_the_sizes_as_json(
    service: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "history.json").write_text(steps("podman"))
    builder_that(f'[ "$1" = build ] && echo noise || cat {tmp_path}/history.json', tmp_path, monkeypatch)
    image(["build", "-c", service(PROVIDER), "--tag", "mine", "--json"], standalone_mode=False)
    out, error = capfd.readouterr()
    assert json.loads(out) == {
        "tag": "mine",
        "builder": "podman",
        "size": 98543,
        "application": 8543,
        "parts": {"base": 90000, "dependencies": 8000, "app": 543},
    }
    assert "noise" in error


def test_run_hands_secrets_over_in_the_environment_only(
    service: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, list[str], dict[str, str]]] = []
    builder_that("", tmp_path, monkeypatch)
    monkeypatch.setattr(os, "execvpe", lambda *call: ran.append(call))
    image(["run", "-c", service(PROVIDER), "--port", "9000"], standalone_mode=False)
    ((_, argv, environment),) = ran
    assert "--env=CLOUD_KEY" in argv
    assert not [word for word in argv if "never-in-an-image" in word]
    assert environment["CLOUD_KEY"] == "never-in-an-image"


def test_plan_builds_anew_when_a_prompt_changes(tmp_path: Path) -> None:
    (tmp_path / "persona.md").write_text("I am Mira.", encoding="utf-8")
    config = tmp_path / "relight.toml"
    config.write_text('[models.cloud]\nurl = "http://127.0.0.1:9/v1"\n[assistant]\npersona = "persona.md"\n', encoding="utf-8")
    before = facts_of(load(config, environ={})).inputs
    assert facts_of(load(config, environ={})).inputs == before
    (tmp_path / "persona.md").write_text("I am Ida.", encoding="utf-8")
    assert facts_of(load(config, environ={})).inputs != before

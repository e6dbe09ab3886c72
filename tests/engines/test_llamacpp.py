"""llama.cpp from the PATH, played by a script of that name, and from the wheel, which is real."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relight.clock import SystemClock
from relight.config.load import load
from relight.config.schema import Task
from relight.engines.base import Broken, Loading, Ready, Spec
from relight.engines.connection import exchange
from relight.engines.llamacpp import LlamaCpp, origin
from relight.engines.process import EngineProcess, start
from relight.errors import EngineFailed
from relight.weights.wanted import locate

EXAMPLE = Path(__file__).parents[2] / "examples/portfolio/relight.toml"

STAND_IN = '''#!{python} -IS
"""Looks like llama-server: lists its flags, notes its arguments, loads for {loads} questions, then is well."""
import json, os, socket, sys

if "--help" in sys.argv:
    print("usage:\\n-m, --model FNAME\\n-fit, --fit [on|off]  adjust", {flags!r}, sep="\\n")
    sys.exit(0)
with open({notes!r}, "w") as file:
    json.dump(sys.argv[1:], file)
path = sys.argv[sys.argv.index("--host") + 1]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(5)
print("main: server is listening on " + path, flush=True)
asked = 0
while True:
    connection, _ = listener.accept()
    assert connection.recv(65536).startswith(b"GET /health HTTP/1.1\\r\\n")
    status = b"{status}" if asked >= {loads} else b"503 Service Unavailable"
    asked += 1
    connection.sendall(b"HTTP/1.1 " + status + b"\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{{}}")
    connection.close()
'''


def spec(folder: Path, *args: str, weights: Path | None = Path("m.gguf"), socket: str = "e.sock") -> Spec:
    return Spec(model="smol", weights=weights, context=1024, parallel=3, threads=3, args=args, socket=folder / socket)


_TASK_SETTINGS = ("n_batch", "n_ubatch", "kv_unified", "embedding", "pooling_type")

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a `llama-server` first on the PATH; returns the file that its arguments are noted in."""

    def install(flags: str = "--slots  expose", *, loads: int = 2, status: str = "200 OK") -> Path:
        notes = tmp_path / "argv.json"
        binary = tmp_path / "bin" / "llama-server"
        binary.parent.mkdir()
        text = STAND_IN.format(python=sys.executable, flags=flags, notes=str(notes), loads=loads, status=status)
        binary.write_text(text)
        binary.chmod(0o755)
        monkeypatch.setenv("PATH", f"{binary.parent}{os.pathsep}{os.environ['PATH']}")
        return notes

    return install


Launch = Callable[[Spec], Awaitable[EngineProcess]]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    started: list[EngineProcess] = []

    async def launch(spec: Spec) -> EngineProcess:
        started.append(await start(LlamaCpp(), spec, SystemClock()))
        return started[-1]

    yield launch
    for process in started:
        await process.stop(grace_s=5)


@pytest.fixture
def no_binary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


# --- llama-server on the PATH


@pytest.mark.real
async def test_binary_is_started_with_all_of_the_spec(install: Install, launch: Launch, tmp_path: Path) -> None:
    notes = install("--slots  expose\n--no-webui, --no-ui  off")
    process = await launch(spec(tmp_path, "--cache-type-k=q8_0", "--jinja", '--chat-template-kwargs={"a":"b=c"}'))
    await process.ready()
    assert json.loads(notes.read_text()) == [
        *("--model", "m.gguf", "--alias", "smol", "--host", str(tmp_path / "e.sock")),
        *("--ctx-size", "3072", "--parallel", "3", "--threads", "3", "--threads-batch", "3"),
        *("--threads-http", "43", "--no-warmup"),
        *("--fit", "off", "--slots", "--no-webui"),
        *("--cache-type-k", "q8_0", "--jinja", "--chat-template-kwargs", '{"a":"b=c"}'),
    ]


def test_flags_that_a_build_does_not_list_are_not_passed(install: Install, tmp_path: Path) -> None:
    install("--slots-of-another-kind\n--webui")
    argv = LlamaCpp().command(spec(tmp_path)).argv
    assert "--fit" in argv
    assert not {"--slots", "--no-webui"} & set(argv)


def test_binary_on_the_path_wins_over_the_wheel(install: Install, tmp_path: Path) -> None:
    install()
    assert origin() == str(tmp_path / "bin" / "llama-server")
    command = LlamaCpp().command(spec(tmp_path))
    assert command.argv[0] == origin()
    assert (command.ready_fd_flag, command.binds_itself) == (None, False)


@pytest.mark.usefixtures("no_binary")
def test_wheel_is_used_without_a_binary(tmp_path: Path) -> None:
    assert origin() == "the xllamacpp wheel"
    command = LlamaCpp().command(spec(tmp_path))
    assert (command.argv[0], command.ready_fd_flag, command.binds_itself) == (sys.executable, "--ready-fd", True)
    assert f"n_ctx={3 * 1024}" in command.argv


@pytest.mark.parametrize(("task", "flag"), [(Task.EMBED, "--embeddings"), (Task.RERANK, "--reranking")])
def test_binary_reads_each_text_of_a_model_that_does_not_chat_in_one_piece(
    install: Install, tmp_path: Path, task: Task, flag: str
) -> None:
    install("--slots")
    argv = LlamaCpp(task).command(replace(spec(tmp_path, "--pooling=cls"), task=task)).argv
    assert argv[argv.index("--no-warmup") + 1 :] == (
        *(flag, "--batch-size", "1026", "--ubatch-size", "1026", "--kv-unified"),
        *("--fit", "off", "--slots", "--pooling", "cls"),
    )


@pytest.mark.usefixtures("no_binary")
@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Task.CHAT, {"n_batch": "128", "n_ubatch": "128"}),
        (Task.EMBED, {"n_batch": "1026", "n_ubatch": "1026", "kv_unified": "true", "embedding": "true"}),
        (Task.RERANK, {"n_batch": "1026", "n_ubatch": "1026", "kv_unified": "true", "embedding": "true", "pooling_type": "rank"}),
    ],
)
def test_wheel_is_set_up_for_the_task(tmp_path: Path, task: Task, expected: dict[str, str]) -> None:
    argv = LlamaCpp(task).command(replace(spec(tmp_path), task=task)).argv
    settings = dict(item.split("=", 1) for item in argv[6:])
    assert {name: settings[name] for name in _TASK_SETTINGS if name in settings} == expected


@pytest.mark.usefixtures("no_binary")
def test_settings_that_the_wheel_calls_otherwise_are_translated(tmp_path: Path) -> None:
    argv = LlamaCpp().command(spec(tmp_path, "--pooling=mean", "--ubatch-size=64", "--batch-size=64")).argv
    assert argv[-3:] == ("pooling_type=mean", "n_ubatch=64", "n_batch=64")


def test_model_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r'model "smol": llama\.cpp needs weights; set models.smol.source'):
        LlamaCpp().command(spec(tmp_path, weights=None))


@pytest.mark.real
async def test_probe_follows_the_health_of_the_binary(install: Install, launch: Launch, tmp_path: Path) -> None:
    install(loads=2)
    asked = spec(tmp_path)
    assert await LlamaCpp().probe(asked) == Loading()  # nothing listens yet
    process = await launch(asked)
    while not process.last_lines():  # noqa: ASYNC110 - another process's output
        await asyncio.sleep(0.001)
    assert [await LlamaCpp().probe(asked) for _ in range(3)] == [Loading(), Loading(), Ready()]


@pytest.mark.real
async def test_binary_that_answers_its_health_check_oddly_is_broken(install: Install, launch: Launch, tmp_path: Path) -> None:
    install(loads=1, status="404 Not Found")
    process = await launch(spec(tmp_path))
    with pytest.raises(EngineFailed, match='model "smol": engine answers its health check with 404'):
        await process.ready()
    assert await LlamaCpp().probe(spec(tmp_path)) == Broken("engine answers its health check with 404")


async def test_probe_of_an_engine_that_never_answers_returns_within_a_second(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_unix_server(deaf, tmp_path / "e.sock")
    async with server, asyncio.timeout(3):
        assert await LlamaCpp().probe(spec(tmp_path)) == Loading()
        await left.wait()


# --- the wheel


@pytest.fixture
def weights() -> Path:
    """The example's model, where `relight models pull` puts it."""
    loaded = load(EXAMPLE)
    file = locate("smol", loaded.config.models["smol"], loaded.folder, Path(loaded.config.weights.dir).expanduser())
    if file is None:
        pytest.skip(f"no weights: run: relight models pull --config {EXAMPLE}")
    return file


async def get(process: EngineProcess, path: str, body: dict[str, Any] | None = None) -> Any:
    data = b"" if body is None else json.dumps(body).encode()
    asked = await exchange(
        process.socket, "GET" if body is None else "POST", path, [(b"content-type", b"application/json")], data
    )
    try:
        return json.loads(await asked.read())
    finally:
        asked.close()
        await asked.closed()


@pytest.mark.real
@pytest.mark.usefixtures("no_binary")
async def test_wheel_runs_what_the_spec_says(launch: Launch, tmp_path: Path, weights: Path) -> None:
    given = ("--n-batch=256", "--cache-prompt=false", "--cache-type-k=q8_0", "--flash-attn=on")
    process = await launch(spec(tmp_path, *given, weights=weights))
    await process.ready()
    props, slots, models = [await get(process, path) for path in ("/props", "/slots", "/v1/models")]
    assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (3, 1024)
    assert [slot["n_ctx"] for slot in slots] == [1024] * 3
    assert (props["model_alias"], [model["id"] for model in models["data"]]) == ("smol", ["smol"])
    assert any("n_threads = 3" in line for line in process.last_lines())

    asked = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    answer = await get(process, "/v1/chat/completions", asked)
    assert (answer["model"], answer["usage"]["completion_tokens"]) == ("smol", 2)
    assert str(weights.parent) not in json.dumps([answer, models])


@pytest.mark.real
@pytest.mark.usefixtures("no_binary")
async def test_wheel_embeds_texts_and_token_numbers_in_floats_and_base64(launch: Launch, tmp_path: Path, weights: Path) -> None:
    # These weights are no embedding model, and say nothing of pooling: that is configured then.
    process = await launch(replace(spec(tmp_path, "--pooling=mean", weights=weights), task=Task.EMBED))
    await process.ready()
    bodies: list[dict[str, Any]] = [
        {"input": "hello world"},
        {"input": ["other", "hello world"]},
        {"input": "hello world", "encoding_format": "base64"},
        {"input": [[1, 2], [3]]},
        {"input": "word " * 400},
    ]
    one, several, coded, tokens, long = [await get(process, "/v1/embeddings", body) for body in bodies]
    vector = one["data"][0]["embedding"]
    assert sum(number * number for number in vector) == pytest.approx(1, abs=1e-3)
    assert several["data"][1]["embedding"] == pytest.approx(vector, abs=1e-3)
    packed = base64.b64decode(coded["data"][0]["embedding"])
    assert struct.unpack(f"<{len(vector)}f", packed) == pytest.approx(vector, abs=1e-3)
    assert [len(item["embedding"]) for item in tokens["data"]] == [len(vector)] * 2
    assert long["usage"]["prompt_tokens"] > 400


@pytest.mark.real
@pytest.mark.usefixtures("no_binary")
async def test_wheel_ranks(launch: Launch, tmp_path: Path, weights: Path) -> None:
    process = await launch(replace(spec(tmp_path, weights=weights), task=Task.RERANK))
    await process.ready()
    answer = await get(process, "/v1/rerank", {"query": "a", "documents": ["b", "a a", "c"], "top_n": 2})
    scores = [item["relevance_score"] for item in answer["results"]]
    assert (len(scores), sorted(scores, reverse=True)) == (2, scores)


@pytest.mark.real
@pytest.mark.usefixtures("no_binary")
async def test_wheel_names_a_pooling_that_it_does_not_know(launch: Launch, tmp_path: Path) -> None:
    process = await launch(replace(spec(tmp_path, "--pooling=most"), task=Task.EMBED))
    with pytest.raises(EngineFailed, match=r"models\.smol\.args: pooling_type: does not take 'most'"):
        await process.ready()


@pytest.mark.real
@pytest.mark.usefixtures("no_binary")
async def test_wheel_tells_its_progress_as_it_says_it_can(launch: Launch, tmp_path: Path, weights: Path) -> None:
    assert LlamaCpp().capabilities.progress
    process = await launch(spec(tmp_path, weights=weights))
    await process.ready()
    body = {"messages": [{"role": "user", "content": "word " * 150}], "max_tokens": 1, "stream": True, "return_progress": True}
    headers = [(b"content-type", b"application/json")]
    asked = await exchange(process.address, "POST", "/v1/chat/completions", headers, json.dumps(body).encode())
    lines = [line for line in (await asked.read()).splitlines() if b"prompt_progress" in line]
    await asked.closed()
    events = [json.loads(line.removeprefix(b"data: ")) for line in lines]
    assert events[0]["choices"] == [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}]
    told = [event["prompt_progress"] for event in events]
    assert told[0].keys() == {"total", "cache", "processed", "time_ms"}
    assert (told[0]["processed"], told[-1]["processed"]) == (0, told[0]["total"])


@pytest.mark.real
@pytest.mark.usefixtures("no_binary")
async def test_wheel_takes_more_connections_at_once_than_wait_in_its_backlog(
    launch: Launch, tmp_path: Path, weights: Path
) -> None:
    process = await launch(spec(tmp_path, weights=weights))
    await process.ready()
    answers = await asyncio.gather(*(get(process, "/health") for _ in range(100)))
    assert answers == [{"status": "ok"}] * 100


@pytest.mark.real
@pytest.mark.usefixtures("no_binary")
@pytest.mark.parametrize(
    ("arg", "reason"),
    [
        ("--no-such-thing=1", "the engine has no setting no_such_thing"),
        ("--n-batch=many", "n_batch: does not take 'many'"),
        ("--cache-prompt=maybe", "cache_prompt: does not take 'maybe'"),
        ("--cache-type-k=q99", "cache_type_k: does not take 'q99'"),
        ("--flash-attn=perhaps", "flash_attn_type: does not take 'perhaps'"),
        ("--cpuparams=3", "cpuparams: does not take '3'"),
        ("""--n-batch='"'""", "n_batch: does not take"),
    ],
)
async def test_wheel_names_a_setting_that_does_not_fit(launch: Launch, tmp_path: Path, arg: str, reason: str) -> None:
    process = await launch(spec(tmp_path, arg))
    with pytest.raises(EngineFailed) as caught:
        await process.ready()
    assert caught.value.message.startswith(f'model "smol": models.smol.args: {reason}')


@pytest.mark.real
@pytest.mark.usefixtures("no_binary")
async def test_wheel_says_which_file_is_missing(launch: Launch, tmp_path: Path) -> None:
    process = await launch(spec(tmp_path, weights=tmp_path / "gone.gguf"))
    with pytest.raises(
        EngineFailed, match=r"exited with code 1 after .*failed to open GGUF file '.*gone.gguf' \(No such file"
    ) as caught:
        await process.ready()
    assert "Traceback" not in caught.value.message


@pytest.mark.real
@pytest.mark.usefixtures("no_binary")
async def test_wheel_says_that_a_file_is_no_model(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    process = await launch(spec(tmp_path, weights=tmp_path / "m.gguf"))
    with pytest.raises(EngineFailed, match="failed to load model"):
        await process.ready()

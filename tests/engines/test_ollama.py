"""Ollama, played by a stand-in on the PATH: the real process, the real port, and the API as far as we use it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import select
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relight.clock import SystemClock
from relight.config.schema import Task
from relight.engines.base import Broken, Command, Loading, Probe, Ready, Spec
from relight.engines.connection import exchange
from relight.engines.ollama import Ollama
from relight.engines.ollama_model import Digests
from relight.engines.process import EngineProcess, start
from relight.errors import EngineFailed

STAND_IN = Path(__file__).with_name("stand_in_ollama.py").read_text()


class Setting:
    """A stand-in on the PATH, its store, and a spec for it."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.store.mkdir()
        self.folder = folder

    def spec(self, *args: str, source: str = "ollama:tiny:1b", weights: Path | None = None, task: Task = Task.CHAT) -> Spec:
        store = f"OLLAMA_MODELS={self.store}"
        return Spec("smol", weights, 1024, 3, 2, (store, *args), self.folder / "e.sock", task, source)

    def file(self, content: bytes = b"GGUF" + b"\0" * 3_000_000) -> Path:
        path = self.folder / "m.gguf"
        path.write_bytes(content)
        return path

    def notes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.store / "notes.jsonl").read_text().splitlines()]

    def posts(self) -> list[tuple[str, Any]]:
        return [(it["post"], it["body"]) for it in self.notes() if "post" in it]

    def runner(self) -> int:
        pid: int = self.notes()[-1]["runner"]
        return pid


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    binary = tmp_path / "bin" / "ollama"
    binary.parent.mkdir()
    binary.write_text(f"#!{sys.executable} -IS\n{STAND_IN}")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}{os.pathsep}{os.environ['PATH']}")
    return Setting(tmp_path)


Launch = Callable[..., Awaitable[EngineProcess]]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    started: list[EngineProcess] = []

    async def launch(spec: Spec, engine: Ollama | None = None) -> EngineProcess:
        started.append(await start(engine or Ollama(spec.task), spec, SystemClock()))
        return started[-1]

    yield launch
    for process in started:
        await process.stop(grace_s=5)


LOAD = ("/api/generate", {"model": "smol:latest", "keep_alive": -1, "stream": False})


async def chat(process: EngineProcess) -> int:
    body = b'{"model":"smol","messages":[]}'
    asked = await exchange(process.address, "POST", "/v1/chat/completions", [(b"content-type", b"application/json")], body)
    status = (await asked.head()).status
    asked.close()
    await asked.closed()
    return status


# --- how it is started


@pytest.mark.real
async def test_server_of_our_own_listens_on_a_free_port_and_keeps_one_model(setting: Setting, launch: Launch) -> None:
    process = await launch(setting.spec("OLLAMA_KV_CACHE_TYPE=q8_0"))
    await process.ready()
    assert isinstance(process.address, tuple)
    host, port = process.address
    assert host == "127.0.0.1"
    assert setting.notes()[0]["env"] == {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_NUM_PARALLEL": "3",
        "OLLAMA_CONTEXT_LENGTH": "1024",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_MODELS": str(setting.store),
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
    }


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("--num-ctx=5", 'models.smol.args: should be settings like "OLLAMA_KV_CACHE_TYPE=q8_0" for ollama, got "--num-ctx=5"'),
        ("OLLAMA_HOST=0.0.0.0", "models.smol.args: OLLAMA_HOST is set by Relight; leave it out"),
    ],
)
def test_setting_that_does_not_fit_is_refused(setting: Setting, arg: str, message: str) -> None:
    with pytest.raises(EngineFailed) as caught:
        Ollama().command(setting.spec(arg))
    assert str(caught.value) == message


def test_without_ollama_it_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineFailed, match='model "smol": ollama is not installed; see https://ollama'):
        Ollama().command(Spec("smol", None, 512, 1, 1, (), tmp_path / "e.sock", source="ollama:x"))


def test_model_that_is_neither_in_the_library_nor_a_file_is_refused(setting: Setting) -> None:
    with pytest.raises(EngineFailed, match=r'ollama needs a model; set source = "ollama:NAME:TAG"'):
        Ollama().command(setting.spec(source="hf:a/b/c.gguf"))


def test_ranking_is_refused(setting: Setting) -> None:
    assert Ollama(Task.RERANK).capabilities.paths == frozenset()
    with pytest.raises(EngineFailed, match="ollama does not rank"):
        Ollama(Task.RERANK).command(setting.spec(task=Task.RERANK))


def test_two_engines_never_share_a_port(setting: Setting) -> None:
    commands: list[Command] = [Ollama().command(setting.spec()) for _ in range(5)]
    assert len({command.address for command in commands}) > 1


# --- a model of the library


@pytest.mark.real
async def test_model_that_is_not_there_is_pulled_named_and_loaded(setting: Setting, launch: Launch) -> None:
    process = await launch(setting.spec())
    await process.ready()
    assert setting.posts() == [
        ("/api/pull", {"model": "tiny:1b"}),
        ("/api/copy", {"source": "tiny:1b", "destination": "smol:latest"}),
        LOAD,
    ]
    assert await chat(process) == 200


@pytest.mark.real
async def test_second_wake_only_loads(setting: Setting, launch: Launch) -> None:
    engine = Ollama()
    for _ in range(2):
        process = await launch(setting.spec(), engine)
        await process.ready()
        await process.stop(grace_s=5)
    assert [path for path, _ in setting.posts()] == ["/api/pull", "/api/copy", "/api/generate", "/api/generate"]


@pytest.mark.real
async def test_model_that_has_its_name_already_is_not_copied(setting: Setting, launch: Launch) -> None:
    process = await launch(setting.spec(source="ollama:smol"))
    await process.ready()
    assert [path for path, _ in setting.posts()] == ["/api/pull", "/api/generate"]


@pytest.mark.real
async def test_another_model_of_that_name_is_left_alone(setting: Setting, launch: Launch) -> None:
    (setting.store / "models.json").write_text('{"smol:latest": {"digest": "somebody\'s", "blob": ""}}')
    process = await launch(setting.spec())
    with pytest.raises(EngineFailed, match=r'ollama already has another model called "smol"; rename .* ollama rm smol'):
        await process.ready()
    assert "/api/copy" not in dict(setting.posts())


@pytest.mark.real
async def test_pull_tells_its_progress_and_a_probe_never_waits_for_its_end(setting: Setting) -> None:
    engine, spec = Ollama(), setting.spec("STAND_IN_WAITS=1")
    process = await start(engine, spec, SystemClock())
    try:
        seen: Probe = Loading()
        while seen != Loading(0.4):
            assert isinstance(seen, Loading)
            seen = await engine.probe(spec)
        (setting.store / "go").touch()
        while isinstance(seen, Loading):
            seen = await engine.probe(spec)
        assert seen == Ready()
    finally:
        await process.stop(grace_s=5)


@pytest.mark.real
@pytest.mark.parametrize(
    ("source", "arg", "reason"),
    [
        ("ollama:nonesuch", "A=1", "ollama: pull model manifest: file does not exist"),
        ("ollama:tiny:1b", "STAND_IN_ENDS_EARLY=1", "ollama: /api/pull ended without success, last it said 'pulling aa'"),
        ("ollama:tiny:1b", "STAND_IN_TOO_LARGE=1", "ollama: model requires more system memory (9.1 GiB) than is available"),
    ],
)
async def test_failure_is_told_in_ollamas_words(setting: Setting, launch: Launch, source: str, arg: str, reason: str) -> None:
    process = await launch(setting.spec(arg, source=source))
    with pytest.raises(EngineFailed) as caught:
        await process.ready()
    assert caught.value.message.startswith(f'model "smol": {reason}')


@pytest.mark.real
async def test_server_that_is_gone_in_the_middle_of_a_pull_breaks_it(setting: Setting) -> None:
    engine, spec = Ollama(), setting.spec("STAND_IN_WAITS=1")
    process = await start(engine, spec, SystemClock())
    seen: Probe = Loading()
    while seen != Loading(0.4):
        seen = await engine.probe(spec)
    await process.stop(grace_s=5)
    while isinstance(seen, Loading):
        seen = await engine.probe(spec)
    assert isinstance(seen, Broken)


# --- a file


@pytest.mark.real
async def test_file_is_handed_over_and_becomes_a_model(setting: Setting, launch: Launch) -> None:
    file = setting.file()
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    process = await launch(setting.spec(source="file:m.gguf", weights=file))
    await process.ready()
    assert {"blob": digest, "size": file.stat().st_size} in setting.notes()
    assert setting.posts() == [("/api/create", {"model": "smol:latest", "files": {"model.gguf": digest}}), LOAD]
    assert await chat(process) == 200


@pytest.mark.real
async def test_file_is_handed_over_once(setting: Setting, launch: Launch) -> None:
    spec = setting.spec(source="file:m.gguf", weights=setting.file())
    for _ in range(2):
        process = await launch(spec)
        await process.ready()
        await process.stop(grace_s=5)
    assert [path for path, _ in setting.posts()] == ["/api/create", "/api/generate", "/api/show", "/api/generate"]
    assert sum("blob" in it for it in setting.notes()) == 1


@pytest.mark.real
async def test_file_that_is_there_as_a_blob_is_not_sent_again(setting: Setting, launch: Launch) -> None:
    file = setting.file()
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    (setting.store / digest).write_bytes(file.read_bytes())
    process = await launch(setting.spec(source="file:m.gguf", weights=file))
    await process.ready()
    assert not [it for it in setting.notes() if "blob" in it]


@pytest.mark.real
async def test_file_that_changed_does_not_replace_the_model_behind_its_name(setting: Setting, launch: Launch) -> None:
    spec = setting.spec(source="file:m.gguf", weights=setting.file())
    process = await launch(spec)
    await process.ready()
    await process.stop(grace_s=5)
    setting.file(b"GGUF other")
    process = await launch(spec)
    with pytest.raises(EngineFailed, match='ollama already has another model called "smol"'):
        await process.ready()


@pytest.mark.real
@pytest.mark.parametrize(("content", "reason"), [(b"no weights", "ollama: invalid file magic"), (None, "ollama: .*No such file")])
async def test_file_that_is_no_model_is_refused(setting: Setting, launch: Launch, content: bytes | None, reason: str) -> None:
    file = setting.folder / "gone.gguf" if content is None else setting.file(content)
    process = await launch(setting.spec(source="file:m.gguf", weights=file))
    with pytest.raises(EngineFailed, match=reason):
        await process.ready()


async def test_digest_of_a_file_is_found_again_until_it_changes(tmp_path: Path) -> None:
    file, digests = tmp_path / "m.gguf", Digests()
    file.write_bytes(b"one")
    os.utime(file, ns=(1, 1))
    first = await digests.of(file)
    assert first == hashlib.sha256(b"one").hexdigest()
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert await digests.of(file) == first  # so far as anybody can tell without reading it
    os.utime(file, ns=(1, 2))
    assert await digests.of(file) == hashlib.sha256(b"two").hexdigest()


@pytest.mark.real
async def test_embedding_model_is_loaded_by_embedding_nothing(setting: Setting, launch: Launch) -> None:
    process = await launch(setting.spec(task=Task.EMBED))
    await process.ready()
    assert setting.posts()[-1] == ("/api/embed", {"model": "smol:latest", "input": [], "keep_alive": -1})
    assert Ollama(Task.EMBED).capabilities.paths == {"/v1/embeddings"}


# --- the end


@pytest.mark.real
async def test_runner_that_holds_the_weights_ends_with_the_server(setting: Setting, launch: Launch) -> None:
    process = await launch(setting.spec())
    await process.ready()
    runner = os.pidfd_open(setting.runner())
    try:
        await process.stop(grace_s=5)
        ready, _, _ = await asyncio.to_thread(select.select, [runner], [], [], 10)
        assert ready
    finally:
        os.close(runner)


async def test_engine_that_was_never_started_is_loading(setting: Setting) -> None:
    assert await Ollama().probe(setting.spec()) == Loading()


def test_names_without_a_tag_are_the_latest(setting: Setting) -> None:
    spec = replace(setting.spec(), model="my/smol:v2")
    assert Ollama().command(spec).argv[1:] == ("serve",)

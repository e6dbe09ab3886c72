"""vLLM, played by a stand-in on the PATH."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from relight.clock import SystemClock
from relight.config.schema import Task
from relight.engines.base import Spec
from relight.engines.connection import exchange
from relight.engines.process import start
from relight.engines.vllm import Vllm
from relight.errors import EngineFailed

STAND_IN = '''#!{python} -IS
"""Looks like vllm: notes how it was started, and is well at the third question."""
import json, os, socket, sys

with open({notes!r}, "w") as file:
    names = ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE")
    json.dump({{"argv": sys.argv[1:], "env": {{name: os.environ[name] for name in names if name in os.environ}}}}, file)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[sys.argv.index("--uds") + 1])
listener.listen(5)
for status in ("503 Service Unavailable", {status!r}, "200 OK"):
    connection, _ = listener.accept()
    assert connection.recv(65536).startswith(b"GET /health HTTP/1.1\\r\\n")
    connection.sendall(f"HTTP/1.1 {{status}}\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n".encode())
    connection.close()
listener.accept()
'''


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install(tmp_path, monkeypatch)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, status: str = "503 Service Unavailable") -> Path:
    notes, binary = folder / "notes.json", folder / "bin" / "vllm"
    binary.parent.mkdir()
    binary.write_text(STAND_IN.format(python=sys.executable, notes=str(notes), status=status))
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("HF_HUB_OFFLINE", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    return notes


def spec(folder: Path, *args: str, source: str = "hf:acme/tiny", weights: Path | None = None, task: Task = Task.CHAT) -> Spec:
    return Spec("smol", weights, 4096, 8, 2, args, folder / "e.sock", task, source)


def said(notes: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(notes.read_text())
    return found


async def started(asked: Spec, notes: Path) -> dict[str, Any]:
    process = await start(Vllm(asked.task), asked, SystemClock())
    try:
        await process.ready()
        assert process.address == asked.socket
        (await exchange(process.address, "GET", "/")).close()
    finally:
        await process.stop(grace_s=5)
    return said(notes)


QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.mark.real
async def test_model_of_the_hub_is_served_on_the_socket_under_our_name(notes: Path, tmp_path: Path) -> None:
    seen = await started(spec(tmp_path, "--gpu-memory-utilization=0.5", "--enable-auto-tool-choice"), notes)
    assert seen["argv"] == [
        *("serve", "acme/tiny", "--uds", str(tmp_path / "e.sock"), "--served-model-name", "smol"),
        *("--max-model-len", "4096", "--max-num-seqs", "8"),
        *("--gpu-memory-utilization=0.5", "--enable-auto-tool-choice"),
    ]
    assert seen["env"] == QUIET


@pytest.mark.real
async def test_folder_of_weights_is_served_without_the_network(notes: Path, tmp_path: Path) -> None:
    seen = await started(spec(tmp_path, source="file:w", weights=tmp_path / "w"), notes)
    assert seen["argv"][:2] == ["serve", str(tmp_path / "w")]
    assert seen["env"] == {**QUIET, "HF_HUB_OFFLINE": "1"}


def test_revision_is_passed_on(notes: Path, tmp_path: Path) -> None:
    argv = Vllm().command(spec(tmp_path, source="hf:acme/tiny@v1.0")).argv
    assert argv[1:5] == ("serve", "acme/tiny", "--revision", "v1.0")


@pytest.mark.parametrize(("task", "path"), [(Task.EMBED, "/v1/embeddings"), (Task.RERANK, "/v1/rerank")])
def test_model_that_does_not_chat_is_run_by_the_pooling_runner(notes: Path, tmp_path: Path, task: Task, path: str) -> None:
    assert Vllm(task).capabilities.paths == {path}
    assert Vllm(task).command(spec(tmp_path, task=task)).argv[-2:] == ("--runner", "pooling")


@pytest.mark.parametrize("source", ["pypi:a/b.gguf", "hf:acme/tiny/file.gguf", "hf:acme", ""])
def test_source_that_it_cannot_read_is_refused(notes: Path, tmp_path: Path, source: str) -> None:
    with pytest.raises(EngineFailed) as caught:
        Vllm().command(spec(tmp_path, source=source))
    assert caught.value.message == f'models.smol.source: should be hf:OWNER/REPO or file:FOLDER for vllm, got "{source}"'


def test_without_vllm_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineFailed, match='model "smol": vllm is not installed; run: pip install vllm'):
        Vllm().command(spec(tmp_path))


@pytest.mark.real
async def test_server_that_answers_its_health_check_oddly_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "404 Not Found")
    process = await start(Vllm(), spec(tmp_path), SystemClock())
    try:
        with pytest.raises(EngineFailed, match="engine answers its health check with 404"):
            await process.ready()
    finally:
        await process.stop(grace_s=5)

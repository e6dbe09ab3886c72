"""Relight inside somebody's own application, as its README says."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import fastapi
import pytest
import uvicorn

import relight
from relight.engines.connection import exchange

CONFIG = """
[models.toy]
engine = "scripted"
[assistant]
model = "toy"
persona = "persona.md"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "persona.md").write_text("I am Mira.", encoding="utf-8")
    file = tmp_path / "relight.toml"
    file.write_text(CONFIG + f'[weights]\ndir = "{tmp_path}/weights"\n', encoding="utf-8")
    return file


async def test_app_mounts_into_fastapi_and_ends_its_engines_with_it(config: Path) -> None:
    ai = relight.create_app(config)
    site = fastapi.FastAPI(lifespan=ai.lifespan)
    site.mount("/ai", ai)

    @site.get("/own")
    def own() -> dict[str, bool]:
        return {"own": True}

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(site, log_level="warning"))
        serving = asyncio.create_task(server.serve([listener]))

        async def ask(method: str, path: str, body: Any = None) -> tuple[int, bytes]:
            headers = [(b"content-type", b"application/json"), (b"host", b"127.0.0.1")]
            asked = await exchange(("127.0.0.1", port), method, path, headers, b"" if body is None else json.dumps(body).encode())
            try:
                return (await asked.head()).status, await asked.read()
            finally:
                asked.close()

        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            assert await ask("GET", "/own") == (200, b'{"own":true}')
            status, body = await ask("POST", "/ai/chat", {"message": "#script text=mounted"})
            assert (status, json.loads(body)["reply"]) == (200, "mounted")
            status, page = await ask("GET", "/ai/widget.js")
            assert (status, b"attachShadow" in page) == (200, True)
            engine: Any = ai.front.models["toy"].runner._engine
            assert engine is not None
        finally:
            server.should_exit = True
            await serving
    assert ai.front.models["toy"].runner.status().state == "asleep"

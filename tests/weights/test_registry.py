"""Hugging Face, the Ollama library, buckets and proxies: the right address, the right digest, and tokens that stay at home."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from relight.errors import ConfigError, NetworkError, WeightsError
from relight.weights.fetch import fetch
from relight.weights.progress import Update
from tests.weights.files import sha256
from tests.weights.server import Fault, FileServer
from tests.weights.setting import BIG, files, want


def linked(server: FileServer, other: FileServer, digest: str) -> Mapping[str, str]:
    """Hugging Face as it answers: a redirect to another host, with the digest on the way."""
    path = "/Qwen/Q-GGUF/resolve/main/q8.gguf"
    headers = {"x-linked-etag": f'"{digest}"', "x-linked-size": str(len(BIG))}
    server.redirects[path] = (f"http://localhost:{other.port}/cdn/blob?signature=s3cret", headers)
    other.files["/cdn/blob?signature=s3cret"] = BIG
    return headers


def test_hugging_face_token_stays_with_its_host(
    server: FileServer, other_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    linked(server, other_server, sha256(BIG))
    assert fetch(want("hf:Qwen/Q-GGUF/q8.gguf", tmp_path)).sha256 == sha256(BIG)
    assert server.seen[0].headers["authorization"] == "Bearer hf_s3cret"
    assert "authorization" not in other_server.seen[0].headers
    assert not any(b"s3cret" in path.read_bytes() for path in tmp_path.rglob("*.json"))


def test_hugging_face_token_survives_a_redirect_on_its_host(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    server.redirects["/o/old/resolve/main/q8.gguf"] = ("/o/new/resolve/main/q8.gguf", {})
    server.files["/o/new/resolve/main/q8.gguf"] = BIG
    fetch(want("hf:o/old/q8.gguf", tmp_path))
    assert server.seen[1].headers["authorization"] == "Bearer hf_s3cret"


def test_digest_that_hugging_face_says_is_checked(
    server: FileServer, other_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    linked(server, other_server, "1" * 64)
    with pytest.raises(WeightsError, match=f"should be {'1' * 64}, got {sha256(BIG)}"):
        fetch(want("hf:Qwen/Q-GGUF/q8.gguf", tmp_path))
    assert files(tmp_path) == set()


def test_pinned_digest_that_the_hub_contradicts_fails_before_the_transfer(
    server: FileServer, other_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    linked(server, other_server, sha256(BIG))
    seen: list[Update] = []
    with pytest.raises(WeightsError, match=f"should be {'2' * 64}, got {sha256(BIG)}"):
        fetch(want("hf:Qwen/Q-GGUF/q8.gguf", tmp_path, pin="2" * 64), report=seen.append)
    assert seen == []
    assert files(tmp_path) == set()


def test_gated_model_says_how_to_get_access(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    server.faults.append(Fault(401))
    with pytest.raises(NetworkError, match=r"access denied; .*set HF_TOKEN") as caught:
        fetch(want("hf:o/r/q8.gguf", tmp_path))
    assert "s3cret" not in str(caught.value)


def test_endless_redirects_end(server: FileServer, tmp_path: Path) -> None:
    server.redirects["/m.gguf"] = ("/m.gguf", {})
    with pytest.raises(NetworkError, match="more than 10 redirects"):
        fetch(want(f"{server.url}/m.gguf", tmp_path))


def manifest(*layers: tuple[str, bytes]) -> bytes:
    inner = ",".join(
        f'{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"sha256:{sha256(body)}","size":{len(body)}}}'
        for kind, body in layers
    )
    return f'{{"schemaVersion":2,"layers":[{inner}]}}'.encode()


def test_ollama_model_layer_is_found_through_the_manifest(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_OLLAMA_REGISTRY", server.url)
    server.files["/v2/library/qwen3/manifests/0.6b"] = manifest(("template", b"t"), ("model", BIG))
    server.files[f"/v2/library/qwen3/blobs/sha256:{sha256(BIG)}"] = BIG
    weights = fetch(want("ollama:qwen3:0.6b", tmp_path))
    assert (weights.path.name, weights.sha256) == ("qwen3-0.6b.gguf", sha256(BIG))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (manifest(("tensor", b"a"), ("tensor", b"b")), "should hold one GGUF file, got tensor"),
        (b"<html>", "manifest cannot be read"),
    ],
)
def test_ollama_model_without_one_gguf_is_refused(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str
) -> None:
    monkeypatch.setenv("RELIGHT_OLLAMA_REGISTRY", server.url)
    server.files["/v2/library/qwen3/manifests/latest"] = answer
    with pytest.raises(NetworkError, match=said):
        fetch(want("ollama:qwen3", tmp_path))


def test_bucket_object_is_fetched_with_the_token(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "ya29.s3cret")
    server.files["/storage/v1/b/weights/o/dir%2Fm.gguf?alt=media"] = BIG
    assert fetch(want("gs://weights/dir/m.gguf", tmp_path)).sha256 == sha256(BIG)
    assert server.seen[0].headers["authorization"] == "Bearer ya29.s3cret"


def test_token_is_not_sent_to_an_insecure_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example.org")
    with pytest.raises(ConfigError, match="HF_ENDPOINT: should be an https:// address"):
        fetch(want("hf:o/r/q8.gguf", tmp_path))


def test_proxy_of_the_environment_is_used(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:s3cret@127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    server.files["http://localhost:1/m.gguf"] = BIG
    assert fetch(want("http://localhost:1/m.gguf", tmp_path)).sha256 == sha256(BIG)
    assert server.seen[0].headers["proxy-authorization"].startswith("Basic ")

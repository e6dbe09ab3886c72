"""From a reference to a URL on a server: Hugging Face, the Ollama library, Google Cloud Storage, plain https."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import ConfigError, NetworkError
from relight.loopback import is_loopback
from relight.values import Secret
from relight.weights.bucket import object_request
from relight.weights.patience import Patience, persistently
from relight.weights.progress import Report
from relight.weights.source import Kind, Source
from relight.weights.web import Request, is_plain, opened

_MODEL_LAYER: Final = "application/vnd.ollama.image.model"
_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_MOST_MANIFEST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Remote:
    """One file on a server, and what the registry says about it (`None` where it says nothing).

    `has_versions`: its server names the version of what it sends, and can be held to it, so that ranges of one file fit together.
    """

    request: Request
    sha256: str | None = None
    size: int | None = None
    has_versions: bool = False


class _Layer(msgspec.Struct, frozen=True):
    media_type: str = msgspec.field(name="mediaType")
    digest: str
    size: int


class _Manifest(msgspec.Struct, frozen=True):
    layers: tuple[_Layer, ...] = ()


def resolve(source: Source, *, patience: Patience, report: Report, env: Mapping[str, str] = os.environ) -> Remote:
    """Find the file behind a reference; asks the network for `ollama:` only.

    Raises `NetworkError`, or `ConfigError` for a bad address in `env`.
    """
    if source.kind is Kind.HUGGING_FACE:
        return _hugging_face(source, env)
    if source.kind is Kind.BUCKET:
        return _bucket(source, env)
    if source.kind is Kind.OLLAMA:
        return _ollama(
            source, patience=patience, report=report, base=_base(env, "RELIGHT_OLLAMA_REGISTRY", "https://registry.ollama.ai")
        )
    return Remote(Request(source.item, source.text))


def _hugging_face(source: Source, env: Mapping[str, str]) -> Remote:
    base = _base(env, "HF_ENDPOINT", "https://huggingface.co")
    url = f"{base}/{source.place}/resolve/{quote(source.version or 'main', safe='')}/{quote(source.item)}"
    return Remote(Request(url, source.text, token=_token(env, "HF_TOKEN"), hint=_hub_hint))


def _hub_hint(status: int) -> str | None:
    denied = "for a private or gated model accept its terms on its page, then set HF_TOKEN to a token that may read it"
    return denied if status in {401, 403} else None


def _bucket(source: Source, env: Mapping[str, str]) -> Remote:
    base = _base(env, "STORAGE_EMULATOR_HOST", "https://storage.googleapis.com")
    remote = Remote(object_request(source, base, env), has_versions=True)
    host = urlsplit(base).hostname or ""
    if is_loopback(host) or host.endswith(".googleapis.com"):
        return remote
    # An emulator elsewhere: it asks for nobody, and a token for all of Google is none of its business.
    return replace(remote, request=replace(remote.request, token=None))


def _ollama(source: Source, *, patience: Patience, report: Report, base: str) -> Remote:
    ask = Request(f"{base}/v2/{source.place}/manifests/{source.version}", source.text, {"accept": _MANIFEST})

    def manifest() -> bytes:
        with opened(ask, patience) as reply:
            body = bytearray()
            for block in reply.blocks():
                body += block
                if len(body) > _MOST_MANIFEST_BYTES:
                    raise NetworkError(f"{source.text}: the registry's manifest is larger than a manifest can be")
            return bytes(body)

    try:
        layers = msgspec.json.decode(persistently(manifest, patience=patience, report=report), type=_Manifest).layers
    except NOT_JSON as error:
        raise NetworkError(f"{source.text}: the registry's manifest cannot be read ({error})") from error
    models = [layer for layer in layers if layer.media_type == _MODEL_LAYER and layer.digest.startswith("sha256:")]
    if len(models) != 1:
        kinds = ", ".join(sorted({layer.media_type.rpartition(".")[2] for layer in layers})) or "nothing"
        raise NetworkError(
            f"{source.text}: should hold one GGUF file, got {kinds}", hint="choose a tag that runs locally, in GGUF form"
        )
    [model] = models
    url = f"{base}/v2/{source.place}/blobs/{model.digest}"
    return Remote(Request(url, source.text), sha256=model.digest.removeprefix("sha256:"), size=model.size)


def _token(env: Mapping[str, str], name: str) -> Secret | None:
    text = env.get(name, "").strip()
    return Secret(name, text) if text else None


def _base(env: Mapping[str, str], name: str, default: str) -> str:
    """The server's address; tokens go there, so it is https or this machine."""
    text = env.get(name, "").strip().rstrip("/")
    if not text:
        return default
    # The emulator's own convention is HOST:PORT without a scheme.
    url = text if "://" in text else f"http://{text}"
    parts = urlsplit(url)
    if not is_plain(url):
        raise ConfigError(f"{name}: should be a plain address, without a user or a backslash")
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return url
    raise ConfigError(f'{name}: should be an https:// address (http:// on this machine only), got "{text}"')

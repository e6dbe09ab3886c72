"""Where a provider is, what it calls the model and how long it may take. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from relight.config.schema import Model
from relight.errors import ConfigError
from relight.values import Secret

_PREFIX: Final = "/v1"
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """One model of one provider. `model` is our name for it, `name` theirs; times are in seconds.

    Raises `ConfigError` when the address or the key cannot work.
    """

    model: str
    url: str = field(repr=False)  # its query may hold a secret
    name: str
    key: Secret | None = None
    timeout_s: float = 600.0
    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 60.0
    retries: int = 2

    def __post_init__(self) -> None:
        self._check_url()
        if self.key is not None:
            self._check_key(self.key)

    @classmethod
    def of(cls, model: str, section: Model, key: Secret | None) -> Self:
        """The target that a `[models.NAME]` section with a `url` describes."""
        return cls(
            model=model,
            url=section.url or "",
            name=section.name or model,
            key=key,
            timeout_s=section.timeout,
            connect_timeout_s=section.connect_timeout,
            first_byte_timeout_s=section.first_byte_timeout,
            retries=section.retries,
        )

    @property
    def host(self) -> str:
        """Host, and port unless it is the usual one: safe to show."""
        parts = urlsplit(self.url)
        port = "" if parts.port in (None, _PORTS[parts.scheme]) else f":{parts.port}"
        name = parts.hostname or ""
        return f"[{name}]{port}" if ":" in name else f"{name}{port}"

    @property
    def place(self) -> str:
        """The address without what may be secret in it: no user, no query."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{self.host}{parts.path.rstrip('/')}"

    def address(self, path: str) -> str:
        """Where a request for our `path` ("/v1/chat/completions") goes.

        What follows `/v1` is put after the path of the URL; its query stays. A URL that is only a host gets the `/v1`: every
        server that people name that way (Ollama, vLLM, llama.cpp, LM Studio) answers there.
        """
        parts = urlsplit(self.url)
        base = parts.path.rstrip("/")
        rest = path.removeprefix(_PREFIX) if base else path
        return SplitResult(parts.scheme, parts.netloc, base + rest, parts.query, "").geturl()

    def headers(self, *, stream: bool) -> dict[str, str]:
        """What is sent with every request; the only place where the key goes out."""
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if stream else "application/json",
            # A compressed stream arrives in lumps.
            "accept-encoding": "identity",
        }
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key.reveal().strip()}"
        return headers

    def _check_url(self) -> None:
        where = f"models.{self.model}.url"
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or not self.url.isprintable() or " " in self.url:
            raise ConfigError(
                f"{where}: should be an http:// or https:// address", hint='write it like "https://api.openai.com/v1"'
            )
        if parts.username is not None:
            raise ConfigError(f"{where}: has a user name in it", hint=f"put the key into models.{self.model}.api_key")

    def _check_key(self, key: Secret) -> None:
        text = key.reveal().strip()
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            what = "is empty" if not text else "has characters that no key has"
            raise ConfigError(f'models.{self.model}.api_key: the secret "{key.name}" {what}', hint=f"set {key.name} anew")

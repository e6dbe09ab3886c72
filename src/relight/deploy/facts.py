"""What deploying has to know and cannot find out by itself: about weights, the image, this machine and prices. Structs only.

Whoever composes fills them in: `weights/` and `cost/` stand on the same floor.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Builder(StrEnum):
    """Who builds the image."""

    CLOUD = "cloud build"
    LOCAL = "this machine"


class ModelFacts(Struct, frozen=True, kw_only=True):
    """A model that is served by us; None where its weights are not here. Bytes, seconds, tokens."""

    name: str
    file: str | None = None
    sha256: str | None = None
    weights_bytes: int | None = None
    cache_bytes_per_token: int | None = None
    wake_s: float | None = None
    """Start of the engine, measured here."""
    tokens_per_s: float | None = None
    """Of one answer, measured here."""


class Facts(Struct, frozen=True, kw_only=True):
    """Everything beside the configuration."""

    models: tuple[ModelFacts, ...] = ()
    inputs: str = ""
    """Digest of all that the image is made of, in hex digits: another one is another image."""
    image: str | None = None
    """An image that is there already, with its digest: nothing is built."""
    image_bytes: int | None = None
    """The image without the weights."""
    load_bytes_per_s: float | None = None
    """Measured, from where the weights are placed to the engine."""
    builder: Builder = Builder.CLOUD
    secrets_here: frozenset[str] = frozenset()
    """Names of the secrets whose text is here, in the environment or `.env`."""

    def model(self, name: str) -> ModelFacts | None:
        """What is known of a model, by its name."""
        return next((model for model in self.models if model.name == name), None)


class Costs(Struct, frozen=True, kw_only=True):
    """Prices in USD, as `cost/` works them out for the shape that the configuration names."""

    hour: float
    """Of one instance that works."""
    idle_hour: float
    """Of one that is kept awake and idle."""
    wake: float
    tail: float
    """From the last answer to the end of the instance."""
    thousand: float
    """Requests of ten seconds, one at a time."""
    free_hours: float
    """Hours of work a month that cost nothing."""
    image_gb_month: float
    bucket_gb_month: float
    secret_month: float
    build_minute: float
    schedule_month: float = 0.10
    request: float = 0.4e-6
    as_of: str
    caveats: tuple[str, ...] = ()

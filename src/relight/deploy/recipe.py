"""What an image is made of, as plain facts, and where it lies in the image. Knows no file of this machine."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from relight.config.deploy import Gpu

ROOT: Final = "/opt/relight"
PYTHON: Final = f"{ROOT}/venv"
ENGINE: Final = f"{ROOT}/engine"
CODE: Final = f"{ROOT}/code"
APP: Final = "/srv/app"
WEIGHTS: Final = "/srv/weights"
DETECTOR: Final = f"{WEIGHTS}/assistant"
PREFIXES: Final = "/srv/prefixes"
OLLAMA: Final = "/srv/ollama"
SBOM: Final = "/usr/share/relight/sbom.cdx.json"
USER: Final = 65532
"""Numeric, so that a platform can see that it is not root; the "nonroot" of the distroless images."""
PORT: Final = 8080


class Part(StrEnum):
    """What the layers of an image hold."""

    BASE = "base"
    DEPENDENCIES = "dependencies"
    ENGINE = "engine"
    WEIGHTS = "weights"
    DETECTOR = "detector"
    SNAPSHOTS = "snapshots"
    APP = "app"


class File(Struct, frozen=True):
    """A file of weights: the model that it is for, where it lies in the image, its SHA-256 in hexadecimal."""

    model: str
    path: str
    sha256: str
    record: str | None = None
    """Where the record of its digest lies in the image."""


class Pulled(Struct, frozen=True):
    """A model that Ollama pulls while the image is built: what clients call it, and what the library does."""

    model: str
    source: str


class Recipe(Struct, frozen=True, kw_only=True):
    """One image."""

    service: str
    base: str
    version: str
    """Of Relight."""
    wheel: str
    """Name of Relight's wheel in the context."""
    engine: str | None = None
    """llama.cpp's wheel as pip names it, version pinned; None when no model is run by it."""
    gpu: Gpu | None = None
    weights: tuple[File, ...] = ()
    pulled: tuple[Pulled, ...] = ()
    fetches: bool = False
    """Weights are fetched at the start, to where others would have them in the image."""
    has_detector: bool = False
    has_snapshots: bool = False


class Layer(Struct, frozen=True):
    """A layer of the final stage: what it holds, from which stage (None: the context), the paths there, and where they go."""

    part: Part
    stage: str | None
    sources: tuple[str, ...]
    target: str


def layers(recipe: Recipe) -> tuple[Layer, ...]:
    """What is copied onto the base, in this order: what changes seldom first, so that it is sent and stored once."""
    found = [
        Layer(Part.DEPENDENCIES, "library", ("/library/usr",), "/usr"),
        Layer(Part.DEPENDENCIES, "dependencies", (PYTHON,), PYTHON),
    ]
    if recipe.engine is not None:
        found.append(Layer(Part.ENGINE, "engine", (ENGINE,), ENGINE))
    if recipe.pulled:
        found += [
            Layer(Part.ENGINE, "ollama", ("/usr/bin/ollama",), "/usr/bin/ollama"),
            Layer(Part.ENGINE, "ollama", ("/usr/lib/ollama",), "/usr/lib/ollama"),
            Layer(Part.WEIGHTS, "ollama", (OLLAMA,), OLLAMA),
        ]
    for file in recipe.weights:
        there = [f"/weights{path}" for path in (file.path, file.record) if path is not None]
        folder = f"{file.path.rpartition('/')[0]}/"
        if file.record is None or file.record.startswith(folder):
            found.append(Layer(Part.WEIGHTS, "weights", tuple(there), folder))
        else:
            found.append(Layer(Part.WEIGHTS, "weights", (there[0],), file.path))
            found.append(Layer(Part.WEIGHTS, "weights", (there[1],), file.record))
    if recipe.has_detector:
        found.append(Layer(Part.DETECTOR, None, ("detector/",), DETECTOR))
    if recipe.has_snapshots:
        found.append(Layer(Part.SNAPSHOTS, None, ("prefixes/",), PREFIXES))
    return (
        *found,
        Layer(Part.APP, "code", (CODE,), CODE),
        Layer(Part.APP, "inventory", ("/inventory/",), SBOM.rpartition("/")[0]),
        Layer(Part.APP, None, ("app/",), APP),
    )

"""Topics that teach a mode, from files of their own: too many of them for `about` to stay a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import structs

from relight.assistant.prompts import text_of
from relight.config.assistant import Mode


def taught(modes: Mapping[str, Mode], folder: Path) -> dict[str, Mode]:
    """The modes with the topics of their files in `about`, as the classifier wants them; paths are relative to `folder`.

    Raises `ConfigError` for a file that cannot be read.
    """
    return {name: _taught(name, mode, folder) for name, mode in modes.items()}


def _taught(name: str, mode: Mode, folder: Path) -> Mode:
    if mode.topics is None:
        return mode
    text = text_of(f"assistant.modes.{name}.topics", folder / Path(mode.topics).expanduser())
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return structs.replace(mode, about="\n".join([f"{(mode.about or '').rstrip('.')}.", *lines]))

"""Writing a file whole or not at all. Knows no format."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from relight.errors import UsageError


def write_text(path: Path, text: str) -> None:
    """Put `text` at `path` in one step, folders included; nothing half-written is left behind. Raises `UsageError`."""
    draft: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # A temporary file is private; a page or a configuration may be read as any other file of this user.
        umask = os.umask(0)
        os.umask(umask)
        Path(draft).chmod(0o666 & ~umask)
        Path(draft).replace(path)
        draft = None
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written: {error.strerror}", hint="choose another place or fix its permissions"
        ) from None
    finally:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)

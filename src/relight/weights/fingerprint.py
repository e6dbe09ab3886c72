"""Which weights a file holds, found without reading all of it: large models have many gigabytes."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

_SAMPLES: Final = 64
_SAMPLE: Final = 64 << 10
_HEAD: Final = 1 << 20


def fingerprint(path: Path) -> str:
    """Hexadecimal SHA-256 over the size, the first MiB (a GGUF's header begins there) and 64 samples spread over the rest.

    Two different models have different fingerprints; a file that was tampered with may keep its own. Raises `OSError`.
    """
    facts = path.stat()
    return _fingerprint(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _fingerprint(path: Path, size: int, modified_ns: int) -> str:
    hashed = hashlib.sha256(b"%d:" % size)
    with path.open("rb", buffering=0) as file:
        hashed.update(file.read(_HEAD))
        for sample in range(_SAMPLES):
            file.seek(size * sample // _SAMPLES)
            hashed.update(file.read(_SAMPLE))
    return hashed.hexdigest()

"""Whether a model, as it is configured, fits what its weights were made for, and how much memory it takes. Pure."""

from __future__ import annotations

import re
from typing import Final

from relight.config.schema import Model, Task
from relight.weights.gguf import Header, kv_bytes_per_token


def context_problem(header: Header, model: Model) -> str | None:
    """What is wrong with `context`, to be put behind `models.NAME.context: `; `None` when it fits.

    llama.cpp cuts a longer context to the trained one without an error, and prompts would be cut with it. Who stretches
    the context on purpose says so with `--override-kv=ARCHITECTURE.context_length=int:TOKENS` in `args`.
    """
    trained = _overridden(header, model.args) or header.context_length
    if not trained or model.context <= trained:
        return None
    return f"should be at most {trained}, for which the weights were trained, got {model.context}; set it to {trained} or less"


POOLING_ADVICE: Final = 'set models.{}.args = ["--pooling=mean"] (or cls, or last: the page of the model says which)'
"""What to do about an embedding model whose weights do not say how token vectors become one; `{}` is its name."""


def pooling_problem(header: Header, model: Model) -> str | None:
    """Why llama.cpp would refuse to make embeddings with these weights; `None` when it would not."""
    pooling = _setting(model.args, "pooling") or ("said" if header.pooling_type else "none")
    if model.task is not Task.EMBED or pooling != "none":
        return None
    return "nothing says how the vectors of a text's tokens become one (pooling), so llama.cpp makes no embeddings"


def memory_needed(header: Header, model: Model) -> int:
    """Bytes that the awake engine takes, about: the weights, and a KV cache for `parallel` requests of `context` tokens.

    What it computes in comes on top (tens to hundreds of MiB). Raises `WeightsError` for an unknown cache type in `args`.
    """
    k_type, v_type = (_setting(model.args, name) or "f16" for name in ("cache-type-k", "cache-type-v"))
    return header.size_bytes + kv_bytes_per_token(header, k_type, v_type) * model.context * model.parallel


def _setting(args: tuple[str, ...], name: str) -> str | None:
    return next((arg.partition("=")[2] for arg in reversed(args) if arg.startswith(f"--{name}=")), None)


def _overridden(header: Header, args: tuple[str, ...]) -> int | None:
    text = _setting(args, "override-kv") or ""
    found = re.search(rf"(?:^|,){re.escape(header.architecture)}\.context_length=int:(\d+)", text)
    return int(found[1]) if found else None

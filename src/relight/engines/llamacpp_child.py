"""llama.cpp's server out of the `xllamacpp` wheel, in a process of its own.

Run by file name as `python -I -S llamacpp_child.py PARENT_PID SYS_PATH NAME=VALUE… --ready-fd N`: without `site` and
with two folders on the path it starts some 20 ms sooner, and every wake pays for it. So: standard library only,
nothing of Relight but the launcher beside it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def main(argv: list[str]) -> None:
    """Load the model and serve until SIGTERM."""
    parent, path, *rest = argv
    sys.path[:0] = path.split(os.pathsep)
    from relight.engines.launch import die_with_parent

    die_with_parent(int(parent))
    # The kernel's own ending, not a handler of ours: that would have to wait until the weights are loaded.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ready_fd = int(rest[rest.index("--ready-fd") + 1])
    settings = dict(item.split("=", 1) for item in rest[: rest.index("--ready-fd")])

    import xllamacpp

    try:
        params = _params(xllamacpp, settings)
    except ValueError as error:
        import json

        _tell(ready_fd, json.dumps({"event": "failed", "reason": str(error)}))
        os._exit(1)
    try:
        server = xllamacpp.Server(params)  # returns when the model is loaded
    except RuntimeError:
        sys.exit(1)  # it has said why, line by line; a traceback would only push that out of sight
    _tell(ready_fd, '{"event":"ready"}')
    while server:
        signal.pause()


def _params(xllamacpp: Any, settings: dict[str, str]) -> Any:
    params = xllamacpp.CommonParams()
    params.warmup = False  # a second or more for a token that nobody reads
    params.fit_params = False  # sizes are configured; probing devices costs a second load
    params.endpoint_slots = True
    params.ui = False
    params.model.path = settings.pop("model")
    model = settings.pop("alias")
    params.model_alias = {model}
    params.hostnames = [settings.pop("socket")]
    threads = int(settings.pop("threads"))
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    for name, text in settings.items():
        if not hasattr(params, name):
            raise ValueError(f"models.{model}.args: the engine has no setting {name}")
        try:
            setattr(params, name, _coerce(xllamacpp, getattr(params, name), name, text))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"models.{model}.args: {name}: does not take {text!r}") from error
    return params


def _coerce(xllamacpp: Any, current: object, name: str, text: str) -> object:
    if isinstance(current, bool):
        return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
    if name.startswith("cache_type"):
        return getattr(xllamacpp.ggml_type, f"GGML_TYPE_{text.upper()}")
    if name == "pooling_type":
        return getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{text.upper()}")
    if name == "flash_attn_type":
        return {"auto": -1, "off": 0, "on": 1}[text.lower()]
    kind = next((kind for kind in (int, float) if isinstance(current, kind)), str)
    return kind(text)


def _tell(fd: int, line: str) -> None:
    os.write(fd, line.encode() + b"\n")
    os.close(fd)


if __name__ == "__main__":
    main(sys.argv[1:])

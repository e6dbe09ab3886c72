"""The engine by hand, for comparison: no Relight in it, the best flags that were found."""

from __future__ import annotations

import signal
import sys


def main(weights: str, sock: str, threads: str, *settings: str) -> None:
    """Load, say so on standard output, serve until SIGTERM."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {"smol"}
    params.hostnames = [sock]
    params.n_ctx, params.n_parallel = 16384, 2
    params.warmup = params.fit_params = params.ui = False
    params.n_batch = params.n_ubatch = 128
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    for setting in settings:
        name, _, value = setting.partition("=")
        setattr(params, name, type(getattr(params, name))(int(value)))
    server = xllamacpp.Server(params)
    print("ready", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while server:
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])

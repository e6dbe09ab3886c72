"""The LiteLLM proxy, one worker, from PyPI into an environment of its own."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.gateways.accounting import running
from bench.gateways.client import Target
from bench.gateways.place import Door, Place, install
from bench.wire import ENVIRONMENT, free_port

NAME: Final = "LiteLLM"
VERSION: Final = "1.106.2"
_CONFIG: Final = """
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "{url}", api_key: none}}
general_settings: {{master_key: {key}}}
"""
# Without the first it wants a price list from the network; the second is its advice for production.
_ENV: Final = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}


@contextmanager
def litellm(place: Place) -> Iterator[Door]:
    """With one model, a master key and no database."""
    home = install("litellm", VERSION, _steps)
    key = f"sk-{secrets.token_hex(32)}"  # it refuses weak ones
    port, config = free_port(), place.folder / "config.yaml"
    config.write_text(_CONFIG.format(url=place.upstream_url, key=key))
    argv = [str(home / "venv/bin/litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--num_workers", "1", "--telemetry", "False"]
    with running(argv, core=place.cores.gateway, folder=place.folder, env={**ENVIRONMENT, **_ENV}) as process:
        yield Door(NAME, VERSION, Target("127.0.0.1", port, headers={"authorization": f"Bearer {key}"}), process.pid)


def _steps(folder: Path) -> list[list[str]]:
    pip = [str(folder / "venv/bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
    return [[sys.executable, "-m", "venv", str(folder / "venv")], [*pip, f"litellm[proxy]=={VERSION}"]]

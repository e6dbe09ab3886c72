"""From the name of a secret to the secret: the environment, else `.env` beside the configuration. Knows no use of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from relight.config.dotenv import read_env
from relight.config.schema import SecretName
from relight.errors import ConfigError
from relight.values import Secret

ENV_FILE: Final = ".env"


def resolve(name: SecretName, folder: Path, environ: Mapping[str, str], *, key: str) -> Secret | None:
    """The secret that `name` names, None when it names none; `key` is its place in the configuration, for messages.

    The environment wins over `folder`'s `.env`; an empty value counts as none, white space around one is dropped. Raises
    `ConfigError` when the secret is nowhere, or when `.env` cannot be read.
    """
    if name.secret is None:
        return None
    text = environ.get(name.secret, "").strip() or read_env(folder / ENV_FILE).get(name.secret, "").strip()
    if not text:
        raise ConfigError(
            f"{key}: no secret called {name.secret}: neither the environment nor {folder / ENV_FILE} has it",
            hint=f"set it in the environment, or add a line {name.secret}=VALUE to that file"
            + (" (relight keys create NAME does)" if key == "auth.keys" else ""),
        )
    return Secret(name.secret, text)

"""Which project and region the commands for the cloud are about."""

from __future__ import annotations

from relight.config.load import Loaded
from relight.errors import ConfigError


def project_of(loaded: Loaded) -> tuple[str, str]:
    """Project and region of a configuration. Raises `ConfigError` when it names no project."""
    run = loaded.config.deploy.cloudrun
    if run.project is None:
        raise ConfigError(
            "deploy.cloudrun.project: no project is named",
            hint='add to relight.toml: [deploy.cloudrun] project = "my-project" (or set RELIGHT_DEPLOY__CLOUDRUN__PROJECT)',
        )
    return run.project, run.region

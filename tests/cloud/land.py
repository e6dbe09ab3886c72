"""A folder with a service, a project to put it into, and the command that does: what the tests of whole deployments share."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from relight.cli import applying
from relight.cli.deploy import deploy
from relight.cloud.google import ENDPOINT, signed_in
from relight.cloud.look import look
from relight.cloud.work import Silent
from relight.config.load import load
from relight.weights.fetch import fetch
from relight.weights.wanted import wanted
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import served
from tests.cloud.people import ACCOUNT, account, google_as
from tests.weights.files import gguf

KEYED = """
[service]
name = "portfolio"
[auth]
keys = { secret = "RELIGHT_KEYS" }
[models.smol]
source = "file:m.gguf"
context = 2048
[deploy.cloudrun]
project = "my-project"
concurrency = 8
[prefixes]
learn = false
"""
_DIGEST = hashlib.sha256(gguf()).hexdigest()
GUARDED = f"""
[service]
name = "portfolio"
[models.smol]
source = "file:m.gguf"
sha256 = "{_DIGEST}"
context = 2048
[models.cloud]
url = "https://api.example.com/v1"
api_key = {{ secret = "CLOUD_KEY" }}
[deploy.cloudrun]
project = "my-project"
concurrency = 8
weights = "bucket"
gradual = true
invokers = ["serviceAccount:{ACCOUNT}"]
[deploy.cloudrun.warm.office]
days = "mon-fri"
hours = "08:00-18:00"
time_zone = "Europe/Berlin"
"""
_BOUNDARY = "google.auth.credentials.CredentialsWithRegionalAccessBoundary"
SECRET = "the-text-of-a-secret"


@dataclass
class Land:
    """A folder, a project, and what is seen of both."""

    folder: Path
    cloud: Cloud

    def write(self, text: str) -> None:
        (self.folder / "relight.toml").write_text(text)

    def deploy(self, *flags: str) -> Result:
        """`relight deploy --yes`; what ends a process (`Killed`) comes through."""
        return CliRunner().invoke(deploy, ["-c", str(self.folder / "relight.toml"), "--yes", *flags])

    def plan(self) -> Any:
        """The plan, as programs read it."""
        done = CliRunner().invoke(deploy, ["-c", str(self.folder / "relight.toml"), "--plan", "--json"])
        assert done.stdout, done.exception
        return json.loads(done.stdout)

    def steps(self) -> list[str]:
        return [step["step"] for step in self.plan()["steps"]]

    def seen(self) -> dict[str, Any]:
        """Everything that the next deployment would see, and how often things were made that cost."""
        found = applying.looked(load(self.folder / "relight.toml"), str(self.folder / "relight.toml"))[0]
        google = google_as(self.cloud, account(self.cloud))
        observed = look(google, found.desired, texts={"RELIGHT_KEYS": SECRET, "CLOUD_KEY": SECRET}.get, quotas=(), show=Silent())
        said: dict[str, Any] = msgspec.to_builtins(observed)
        return said | {
            "revisions": len(self.cloud.run.revisions),
            "versions": sorted(len(held.versions) for held in self.cloud.secrets.held.values()),
            "images": len(self.cloud.builds.runs),
        }

    def made(self) -> Counter[str]:
        """How many changes each API was asked for."""
        return Counter(call for call in self.cloud.calls if not call.startswith("GET"))


@contextmanager
def land(folder: Path, patch: pytest.MonkeyPatch, text: str = KEYED, cloud: Cloud | None = None) -> Iterator[Land]:
    """A folder with `text` as its configuration, and an empty project (or `cloud`) for whose owner somebody is signed in."""
    cloud = cloud or Cloud()
    folder.mkdir(exist_ok=True)
    with served(cloud) as address:
        cloud.address = address
        cloud.iam.make(ACCOUNT)
        (folder / "m.gguf").write_bytes(gguf())
        (folder / "relight.toml").write_text(text)
        (folder / "key.json").write_text(json.dumps(cloud.identities.key_file(ACCOUNT, address)))
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "key.json"))
        patch.setenv(ENDPOINT, address)
        patch.setenv("XDG_STATE_HOME", str(folder.parent / "state"))
        patch.setenv("RELIGHT_KEYS", SECRET)
        patch.setenv("CLOUD_KEY", SECRET)
        patch.delenv("RELIGHT_KEY", raising=False)
        patch.delenv("PORT", raising=False)
        # Else Google's library asks the real Google, in a thread of its own, where a key may be used from.
        patch.setattr(f"{_BOUNDARY}._is_regional_access_boundary_lookup_required", lambda _: False)
        patch.setattr(applying, "signed_in", functools.partial(signed_in, sleep=cloud.slept.append))
        config = load(folder / "relight.toml").config
        if "smol" in config.models:
            fetch(wanted("smol", config.models["smol"], folder, config.weights.dir))
        yield Land(folder, cloud)

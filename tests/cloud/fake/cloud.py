"""All of the fake APIs together."""

from __future__ import annotations

from tests.cloud.fake.build import Builds
from tests.cloud.fake.front import Front
from tests.cloud.fake.iam import Iam
from tests.cloud.fake.logging import Logging
from tests.cloud.fake.metrics import Metrics
from tests.cloud.fake.projects import Projects
from tests.cloud.fake.quotas import Quotas
from tests.cloud.fake.registry import Registry
from tests.cloud.fake.run import Run
from tests.cloud.fake.scheduler import Scheduler
from tests.cloud.fake.secrets import Secrets
from tests.cloud.fake.server import Api, Fake
from tests.cloud.fake.storage import Storage
from tests.cloud.fake.tokens import Identities
from tests.cloud.fake.usage import Usage


class Cloud(Fake):
    """A project: each API by its name. Whoever adds one adds a line here."""

    def __init__(self) -> None:
        super().__init__()
        self.address = ""
        self.slept: list[float] = []
        """Every pause that somebody made, in seconds; none of them took any."""
        self.run = Run(self)
        self.secrets = Secrets(self)
        self.registry = Registry(self)
        self.usage = Usage(self)
        self.projects = Projects(self)
        self.iam = Iam(self)
        self.quotas = Quotas(self)
        self.scheduler = Scheduler(self)
        self.storage = Storage(self)
        self.builds = Builds(self)
        self.logging = Logging(self)
        self.front = Front(self)
        self.identities = Identities(self)
        self.metrics = Metrics(self)
        self._apis: list[Api] = [
            self.metrics,
            self.logging,
            self.front,
            self.identities,
            self.storage,
            self.builds,
            self.scheduler,
            self.usage,
            self.projects,
            self.iam,
            self.quotas,
            self.run,
            self.secrets,
            self.registry,
        ]
        for api in self._apis:
            self.add(*api.routes())

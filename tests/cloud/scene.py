"""A project in which everything stands that a service names, and the steps from what there is to what is wished, done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.cloud.run_v2 import Service
from google.protobuf.field_mask_pb2 import FieldMask
from msgspec.structs import replace

from relight.cloud import release
from relight.cloud.google import Google
from relight.cloud.reading import found_service
from relight.cloud.work import Silent
from relight.config.schema import Config
from relight.deploy.desired import Desired, desire
from relight.deploy.observed import Observed, Repository, SecretState, ServiceState
from relight.deploy.plan import plan
from relight.deploy.service import SecretRef, Template
from relight.deploy.steps import DeployRevision, SetInvokers, ShiftTraffic, SmokeTest, Step, UpdateService
from tests.cloud.fake.cloud import Cloud
from tests.deploy.worlds import config, facts


class Told(Silent):
    """Keeps what was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def doing(self, what: str) -> None:
        self.told.append(what)


@dataclass
class Scene:
    """A service called portfolio, and the project for it; `wish` changes what is wished."""

    cloud: Cloud
    google: Google
    show: Told = field(default_factory=Told)
    wished: Config = field(default_factory=config)

    def __post_init__(self) -> None:
        self.cloud.usage.enable()
        self.cloud.registry.make("relight-portfolio")
        self.digest = self.cloud.registry.push("relight-portfolio", "portfolio", "r-abababababababab")
        for name in ("portfolio-RELIGHT_KEYS", "portfolio-OPENAI_API_KEY"):
            self.cloud.secrets.make(name, "text")
            self.allow(name)
        self.cloud.iam.make("portfolio-serve@my-project.iam.gserviceaccount.com")

    def allow(self, secret: str) -> None:
        """The service's account may read a secret."""
        member = "serviceAccount:portfolio-serve@my-project.iam.gserviceaccount.com"
        self.cloud.secrets.policies.bindings[secret] = {"roles/secretmanager.secretAccessor": {member}}

    def wish(self, **run: Any) -> None:
        """Wish for these keys of `[deploy.cloudrun]`."""
        self.wished = config(run=run)

    @property
    def desired(self) -> Desired:
        return desire(self.wished, facts())

    @property
    def template(self) -> Template:
        """What is wished, with the image that is built and the secrets' versions."""
        template = self.desired.template
        secrets = {name: SecretRef(ref.secret, "1") for name, ref in template.secrets.items()}
        place = self.desired.image.reference.rpartition(":")[0]
        return replace(template, image=f"{place}@{self.digest}", secrets=secrets)

    def state(self) -> ServiceState | None:
        return found_service(self.google, "portfolio", self.show)

    def there(self) -> ServiceState:
        found = self.state()
        assert found is not None
        return found

    def steps(self) -> list[Step]:
        """What is left to do about the service; everything else is done."""
        desired = self.desired
        observed = Observed(
            apis=frozenset(desired.apis),
            repository=Repository(keeps=5),
            images={desired.image.reference: self.digest},
            accounts=frozenset(account.email for account in desired.accounts),
            secrets={need.secret: SecretState(latest=1, matches=True) for need in desired.secrets},
            grants=frozenset(desired.grants),
            service=self.state(),
        )
        return list(plan(desired, observed).steps)

    def do(self, step: Step) -> None:
        """One step; a test of a service is what it leaves behind."""
        match step:
            case DeployRevision():
                release.deploy_revision(self.google, step, digest=None, show=self.show)
            case UpdateService():
                release.update_service(self.google, step)
            case SetInvokers():
                release.set_invokers(self.google, step)
            case SmokeTest():
                url, audience = release.address_of(self.google, step.name, percent=step.percent)
                assert url.startswith(audience)
                release.mark_tested(self.google, step.name, step.percent)
            case ShiftTraffic():
                release.shift_traffic(self.google, step, self.show)
            case _:
                raise AssertionError(step)

    def by_hand(self, change: Callable[[Service], None], *paths: str) -> None:
        """Somebody changes the service in the console: these paths of it."""
        service = self.google.services.get_service(name=f"{self.google.location}/services/portfolio")
        change(service)
        service.template.revision = ""
        operation = self.google.services.update_service(service=service, update_mask=FieldMask(paths=paths))
        self.google.wait("change it by hand", operation, limit_s=60)

    def deploy(self) -> list[str]:
        """Everything that is left; returns what that was."""
        steps = self.steps()
        for step in steps:
            self.do(step)
        return [step.kind for step in steps]

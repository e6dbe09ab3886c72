"""The steps of a deployment, each with its reason, what it changes about the cost, and how it is undone. Structs only.

One class a step: whoever applies them needs their fields by type. Everything that a step does can be seen in what is observed
afterwards, so that a plan made again after any of them goes on with the next.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from relight.deploy.desired import Grant
from relight.deploy.service import Change, Settings, Template
from relight.deploy.warm import Schedule


def _tag(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


def _who(member: str) -> str:
    """An account or member without its domain, which is the project's and long."""
    return member.partition("@")[0].removeprefix("serviceAccount:") if member.endswith(".gserviceaccount.com") else member


class _Step(Struct, frozen=True, kw_only=True, tag_field="step", tag=_tag):
    reason: str
    cost: str
    undo: str

    @property
    def kind(self) -> str:
        """`deploy-revision`, as JSON says it under `step`."""
        return _tag(type(self).__name__)


class EnableApis(_Step, frozen=True, kw_only=True):
    """Enable services of Google's for the project."""

    apis: tuple[str, ...]

    @property
    def target(self) -> str:
        """What the step is about."""
        return ", ".join(api.removesuffix(".googleapis.com") for api in self.apis)


class _Named(_Step, frozen=True, kw_only=True):
    name: str

    @property
    def target(self) -> str:
        """What the step is about."""
        return self.name


class CreateRepository(_Named, frozen=True, kw_only=True):
    """Make the repository of images; its clean-up policy keeps the last `keeps` of each image, and nothing else beyond a week."""

    region: str
    keeps: int
    labels: dict[str, str]


class SetCleanup(_Named, frozen=True, kw_only=True):
    """Give a repository of ours the clean-up policy that it lacks."""

    keeps: int


class CreateServiceAccount(_Named, frozen=True, kw_only=True):
    """Make a service account; `name` is its e-mail address."""

    purpose: str

    @property
    def target(self) -> str:
        """What the step is about."""
        return _who(self.name)


class CreateSecret(_Named, frozen=True, kw_only=True):
    """Make a secret without a version."""

    labels: dict[str, str]


class AddSecretVersion(_Named, frozen=True, kw_only=True):
    """Put the text of the variable into a secret; `version` is the number that it gets."""

    variable: str
    version: int

    @property
    def target(self) -> str:
        """What the step is about."""
        return f"{self.name}, version {self.version}"


class CreateBucket(_Named, frozen=True, kw_only=True):
    """Make a private bucket in the region of the service."""

    region: str
    labels: dict[str, str]


class GrantRole(_Step, frozen=True, kw_only=True):
    """Give one member one role on one thing."""

    grant: Grant

    @property
    def target(self) -> str:
        """What the step is about."""
        return f"{self.grant.role} on {_who(self.grant.on)} to {_who(self.grant.member)}"


class UploadWeights(_Named, frozen=True, kw_only=True):
    """Put weights into the bucket; `name` is the object."""

    bucket: str
    model: str
    size: int
    sha256: str


class BuildImage(_Named, frozen=True, kw_only=True):
    """Build the image and push it; `name` is its reference with the tag that says what it is made of."""

    builder: str

    @property
    def target(self) -> str:
        """What the step is about."""
        return self.name.rpartition("/")[2]


class DeployRevision(_Named, frozen=True, kw_only=True):
    """Make a new revision of the service, or the service itself with all of its `settings` when there is none.

    The revision gets no traffic but a tag, unless it is the first that there is; what went to "the latest" is pinned to the one
    that is the latest now. `template` is ours alone: `service.merged` puts it over what is there, and fields
    that we do not know are left as they are (read it, put these in, send it back with its etag).
    """

    reference: str
    """The image with its tag; `template` has its digest, or says that a step before this one makes it."""
    template: Template
    settings: Settings | None
    changes: tuple[Change, ...]
    is_first: bool


class UpdateService(_Named, frozen=True, kw_only=True):
    """Change what belongs to the service as a whole; no new revision comes of it."""

    settings: Settings
    changes: tuple[Change, ...]


class SetInvokers(_Named, frozen=True, kw_only=True):
    """Let these members call the service (roles/run.invoker), and nobody else."""

    members: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


class SmokeTest(_Named, frozen=True, kw_only=True):
    """Ask the latest revision as a user would, with an identity token, and note on the service that it answered.

    With 0 percent of the traffic it is asked at the address of its tag.
    """

    percent: int


class ShiftTraffic(_Named, frozen=True, kw_only=True):
    """Give the latest revision this share of the traffic, the rest to `previous`; 100 is "whichever is the latest"."""

    percent: int
    previous: str | None

    @property
    def target(self) -> str:
        """What the step is about."""
        return f"{self.name}, {self.percent} %"


class SetSchedule(_Named, frozen=True, kw_only=True):
    """Make a job of Cloud Scheduler, or make it as it should be; a ping without an address gets the service's."""

    service: str
    schedule: Schedule


class RemoveSchedule(_Named, frozen=True, kw_only=True):
    """Delete a job of ours that no window has any more."""

    region: str


Step: TypeAlias = (
    EnableApis
    | CreateRepository
    | SetCleanup
    | CreateServiceAccount
    | CreateSecret
    | AddSecretVersion
    | CreateBucket
    | GrantRole
    | UploadWeights
    | BuildImage
    | DeployRevision
    | UpdateService
    | SetInvokers
    | SmokeTest
    | ShiftTraffic
    | SetSchedule
    | RemoveSchedule
)

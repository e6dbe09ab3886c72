"""The sections of `relight.toml` below `[deploy]`, as `schema` has the others. Must not know where values come from."""

# No `from __future__ import annotations` here, as in `schema`.
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, field

from relight.config.fields import Count
from relight.values import Bytes, Duration


class Gpu(StrEnum):
    """GPUs that Cloud Run has."""

    L4 = "nvidia-l4"
    RTX_PRO_6000 = "nvidia-rtx-pro-6000"


class Billing(StrEnum):
    """What an instance is paid for."""

    REQUEST = "request"
    INSTANCE = "instance"


class Placement(StrEnum):
    """Where the weights lie that an instance loads."""

    AUTO = "auto"
    IMAGE = "image"
    BUCKET = "bucket"


class Ingress(StrEnum):
    """Who can reach the service over the network."""

    ALL = "all"
    INTERNAL = "internal"
    INTERNAL_AND_LOAD_BALANCER = "internal-and-load-balancer"


class Warmth(StrEnum):
    """How an instance is kept awake in a window."""

    INSTANCES = "instances"
    PING = "ping"


class Window(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the week in which the service is kept awake by Cloud Scheduler; a new one begins with its next opening."""

    days: Annotated[
        str,
        Meta(
            description="Days on which it opens: `mon` to `sun`, `mon-fri`, or several with commas: `mon,wed`.",
            examples=["mon-fri"],
        ),
    ] = "mon-fri"
    hours: Annotated[
        str,
        Meta(
            description="From its opening to its closing, `24:00` at the latest; past midnight when it closes before it opens.",
            examples=["08:00-18:00"],
        ),
    ] = "08:00-18:00"
    time_zone: Annotated[
        str, Meta(description="Time zone of days and hours; summer time is heeded.", examples=["Europe/Berlin"])
    ] = "UTC"
    by: Annotated[
        Warmth,
        Meta(
            description="instances: the service keeps some, and pays for them idle; ping: it is asked every few minutes, which "
            "mostly keeps one alive, and is only for billing by request. Models sleep after `idle_after` in both."
        ),
    ] = Warmth.INSTANCES
    instances: Annotated[int, Meta(description='Instances that are kept, by = "instances".', ge=1, le=1000, examples=[1])] = 1
    every: Annotated[
        Duration,
        Meta(
            description='Time between pings, by = "ping"; it divides an hour.',
            examples=["5m"],
            extra={"at_least": "1m", "at_most": "60m"},
        ),
    ] = Duration(300)


WindowName = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,20}$", examples=["office"])]


class CloudRun(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Google Cloud Run: what `relight deploy` makes of this file. It costs nothing while nobody talks to it."""

    project: Annotated[str | None, Meta(description="Google Cloud project.", examples=["my-project"])] = None
    region: Annotated[str, Meta(description="Region of the service, its images and secrets.", examples=["europe-west4"])] = (
        "europe-west4"
    )
    cpu: Annotated[
        int, Meta(description="CPUs of an instance: 1, 2, 4, 6 or 8, and more with the large GPU.", ge=1, examples=[4])
    ] = 4
    memory: Annotated[
        Bytes, Meta(description="Memory of an instance; files that it writes count as well.", examples=["8GiB"])
    ] = Bytes(8 << 30)
    gpu: Annotated[
        Gpu | None, Meta(description="GPU of an instance; left out: none, and billing by request.", examples=["nvidia-l4"])
    ] = None
    zonal_redundancy: Annotated[
        bool, Meta(description="Hold a GPU in a second zone as well: dearer, and another quota than the one a project has.")
    ] = False
    billing: Annotated[
        Billing | None,
        Meta(
            description="request: paid while a request runs; instance: paid as long as it lives, idle time included. Left out: "
            "request without a GPU, instance with one (there is no other way).",
            examples=["request"],
        ),
    ] = None
    concurrency: Annotated[
        Count | None,
        Meta(description="Requests that an instance takes at once; left out: as many as its models decode.", examples=[4]),
    ] = None
    min_instances: Annotated[int, Meta(description="Instances that stay awake, and are paid for.", ge=0, examples=[0])] = 0
    max_instances: Annotated[
        int, Meta(description="Most instances: the only hard limit of cost.", ge=1, le=1000, examples=[1])
    ] = 1
    timeout: Annotated[Duration, Meta(description="Longest time of a request, its wake included.", examples=["600s"])] = Duration(
        600
    )
    weights: Annotated[
        Placement,
        Meta(
            description="Weights in the image, or fetched from a bucket at the start; auto chooses by their size, and says why."
        ),
    ] = Placement.AUTO
    bucket: Annotated[
        str | None,
        Meta(
            description="Bucket for weights and prefix snapshots; left out: one is made when it is needed.",
            examples=["my-bucket"],
        ),
    ] = None
    ingress: Annotated[Ingress, Meta(description="Who can reach it over the network.")] = Ingress.ALL
    invokers: Annotated[
        tuple[str, ...],
        Meta(
            description="Who may call it by Google's own identities. Empty: whoever has a key of the service's own, or asks a "
            "public assistant.",
            examples=[("user:me@example.com",)],
        ),
    ] = ()
    service_account: Annotated[
        str | None,
        Meta(
            description="Account that it runs as; left out: one of its own, with no role but those that it needs.",
            examples=["runner@my-project.iam.gserviceaccount.com"],
        ),
    ] = None
    gradual: Annotated[
        bool,
        Meta(
            description="Give a new revision 10, then 50, then 100 percent of the traffic, each after a test; else all at once."
        ),
    ] = False
    warm: dict[WindowName, Window] = field(default_factory=dict)


class Image(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The container that every platform runs."""

    base: Annotated[
        str,
        Meta(
            description="Image of Python that it is built on and runs on.",
            examples=["python:3.12-slim-bookworm"],
        ),
    ] = "python:3.12-slim-bookworm"
    name: Annotated[
        str | None,
        Meta(description="Name of the built image; left out: the service's.", examples=["portfolio"]),
    ] = None


class Deploy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the service runs when it does not run here."""

    image: Image = field(default_factory=Image)
    cloudrun: CloudRun = field(default_factory=CloudRun)


__all__ = ["Billing", "CloudRun", "Deploy", "Gpu", "Image", "Ingress", "Placement", "Warmth", "Window"]

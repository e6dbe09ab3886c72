"""What should be there: the configuration and facts, worked out into resources. Pure; knows nothing of what there is."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from relight.config.deploy import Billing, CloudRun, Ingress, Placement
from relight.config.keys import env_name, schema, walk
from relight.config.schema import Config
from relight.deploy import fit, names, warm
from relight.deploy.facts import Builder, Facts
from relight.deploy.recipe import PREFIXES
from relight.deploy.service import Probe, SecretRef, Settings, Template, Volume
from relight.deploy.warm import Timed

STORE: Final = "/mnt/relight"
"""Where the bucket is a folder in the container."""
_BY_NAME_ONLY: Final = 80
_INGRESS: Final = {
    Ingress.ALL: "INGRESS_TRAFFIC_ALL",
    Ingress.INTERNAL: "INGRESS_TRAFFIC_INTERNAL_ONLY",
    Ingress.INTERNAL_AND_LOAD_BALANCER: "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER",
}


class Grant(Struct, frozen=True, order=True):
    """A role for a member on one thing: `project`, `secret:NAME`, `bucket:NAME`, `repository:NAME`, `service:NAME` or
    `account:EMAIL`."""

    role: str
    member: str
    on: str


class Account(Struct, frozen=True):
    """A service account of ours, and what it is for."""

    email: str
    purpose: str


class SecretNeed(Struct, frozen=True):
    """An environment variable of the service and the secret that it comes from."""

    variable: str
    secret: str


class WeightsFile(Struct, frozen=True, kw_only=True):
    """Weights that should lie in the bucket."""

    model: str
    object: str
    size: int
    sha256: str


class Image(Struct, frozen=True, kw_only=True):
    """The image: `reference` with a tag that says what it is made of, or, when `is_given`, with its digest."""

    reference: str
    is_given: bool = False


class Desired(Struct, frozen=True, kw_only=True):
    """What the configuration asks for. In `template`, image and versions of secrets are left open: the plan knows them."""

    project: str
    region: str
    service: str
    apis: tuple[str, ...]
    labels: dict[str, str]
    image: Image
    builder: Builder
    builder_account: Account
    builder_grants: tuple[Grant, ...]
    repository: str
    accounts: tuple[Account, ...]
    secrets: tuple[SecretNeed, ...]
    bucket: str
    uses_bucket: bool
    weights: tuple[WeightsFile, ...]
    placement: Placement
    placement_reason: str
    grants: tuple[Grant, ...]
    template: Template
    settings: Settings
    invokers: tuple[str, ...]
    stages: tuple[int, ...]
    schedules: tuple[Timed, ...] = ()


def desire(config: Config, facts: Facts) -> Desired:
    """What `config` asks for, given the facts."""
    run, service = config.deploy.cloudrun, config.service.name
    project = run.project or names.UNNAMED_PROJECT
    placement, why = fit.placement_of(config, facts)
    bucket = run.bucket or names.bucket(project, service)
    uses_bucket = run.bucket is not None or (placement is Placement.BUCKET and bool(facts.models))
    secrets = tuple(SecretNeed(name, names.secret(service, name)) for name in secret_names(config))
    runtime = run.service_account or names.account(project, service, "serve")
    repository = names.repository(service)
    build_account = names.account(project, service, "build")
    warm_account = names.account(project, service, "warm")
    scaling = warm.scaling(run, project=project, service=service, account=warm_account)
    pinging = warm.pinging(run, service=service, account=warm_account if run.invokers else None)
    warms = bool(scaling or (pinging and run.invokers))
    return Desired(
        project=project,
        region=run.region,
        service=service,
        apis=_apis(facts, has_secrets=bool(secrets), uses_bucket=uses_bucket, has_schedules=bool(scaling or pinging)),
        labels=dict(names.labels(service)),
        image=_image(config, facts, project),
        builder=facts.builder,
        builder_account=Account(build_account, "builds the image"),
        builder_grants=_build_grants(f"serviceAccount:{build_account}", repository, bucket),
        repository=repository,
        accounts=(
            *(() if run.service_account else (Account(runtime, "runs the service"),)),
            *((Account(warm_account, "keeps the service awake in its windows"),) if warms else ()),
        ),
        secrets=secrets,
        bucket=bucket,
        uses_bucket=uses_bucket,
        weights=_weights(facts) if placement is Placement.BUCKET else (),
        placement=placement,
        placement_reason=why,
        grants=(
            *_grants(f"serviceAccount:{runtime}", secrets, bucket if uses_bucket else None),
            *(_scaling_grants(f"serviceAccount:{warm_account}", service, runtime) if scaling else ()),
        ),
        template=_template(config, facts, placement, runtime, bucket if uses_bucket else None),
        settings=Settings(
            ingress=_INGRESS[run.ingress],
            invoker_iam_disabled=not run.invokers,
            min_instances=run.min_instances,
            max_instances=run.max_instances,
            labels=dict(names.labels(service)),
        ),
        invokers=tuple(sorted({*run.invokers, *([f"serviceAccount:{warm_account}"] if pinging and run.invokers else [])})),
        stages=(10, 50, 100) if run.gradual else (100,),
        schedules=(*scaling, *pinging),
    )


def billing_of(run: CloudRun) -> Billing:
    """By what an instance is billed: what is configured, else by request, but with a GPU."""
    return run.billing or (Billing.REQUEST if run.gpu is None else Billing.INSTANCE)


def slots(config: Config) -> int:
    """Requests that the models of ours decode together; 0 when all belong to others."""
    return sum(model.parallel for model in fit.ours(config).values())


def concurrency_of(config: Config) -> int:
    """Requests that an instance takes: what is configured, else what its models decode, else Cloud Run's own 80."""
    return min(1000, config.deploy.cloudrun.concurrency or slots(config) or _BY_NAME_ONLY)


def secret_names(config: Config) -> tuple[str, ...]:
    """The names of all secrets that the configuration names, each once."""
    found = (value for path, _, value in walk(schema(), config) if path[-1] == "secret" and path[0] != "deploy")
    return tuple(dict.fromkeys(str(name) for name in found if name))


def _apis(facts: Facts, *, has_secrets: bool, uses_bucket: bool, has_schedules: bool) -> tuple[str, ...]:
    wanted = {"run": True, "iam": True, "logging": True}
    builds = facts.image is None
    wanted |= {"artifactregistry": builds, "cloudbuild": builds and facts.builder is Builder.CLOUD}
    wanted |= {"cloudscheduler": has_schedules, "secretmanager": has_secrets, "storage": uses_bucket or wanted["cloudbuild"]}
    return tuple(sorted(f"{name}.googleapis.com" for name, is_wanted in wanted.items() if is_wanted))


def _image(config: Config, facts: Facts, project: str) -> Image:
    if facts.image is not None:
        return Image(reference=facts.image, is_given=True)
    name = config.deploy.image.name or config.service.name
    place = names.image(project, config.deploy.cloudrun.region, config.service.name, name)
    return Image(reference=f"{place}:{names.tag(facts.inputs)}")


def _weights(facts: Facts) -> tuple[WeightsFile, ...]:
    return tuple(
        WeightsFile(
            model=model.name,
            object=names.weights_object(model.sha256, model.file),
            size=model.weights_bytes,
            sha256=model.sha256,
        )
        for model in facts.models
        if model.sha256 and model.file and model.weights_bytes is not None
    )


def _grants(member: str, secrets: tuple[SecretNeed, ...], bucket: str | None) -> tuple[Grant, ...]:
    found = [Grant("roles/secretmanager.secretAccessor", member, f"secret:{need.secret}") for need in secrets]
    if bucket is not None:
        # Weights are read, snapshots are written as well.
        found.append(Grant("roles/storage.objectUser", member, f"bucket:{bucket}"))
    return tuple(found)


def _scaling_grants(member: str, service: str, runtime: str) -> tuple[Grant, ...]:
    return (
        Grant("roles/run.developer", member, f"service:{service}"),
        # Whoever changes a service has to be allowed to act as the account that it runs as. Whether that is asked for the number
        # of instances alone as well was not verified.
        Grant("roles/iam.serviceAccountUser", member, f"account:{runtime}"),
    )


def _build_grants(member: str, repository: str, bucket: str) -> tuple[Grant, ...]:
    return (
        Grant("roles/artifactregistry.writer", member, f"repository:{repository}"),
        # The log is written there, by whoever may also look at the bucket itself.
        Grant("roles/storage.legacyBucketReader", member, f"bucket:{bucket}"),
        Grant("roles/storage.objectUser", member, f"bucket:{bucket}"),
    )


def _template(config: Config, facts: Facts, placement: Placement, account: str, bucket: str | None) -> Template:
    run = config.deploy.cloudrun
    has_gpu = run.gpu is not None
    return Template(
        image="",
        service_account=account,
        cpu=str(run.cpu),
        memory=_memory(run.memory),
        startup_probe=_probe(config, facts, placement),
        timeout_s=max(1, round(run.timeout)),
        concurrency=concurrency_of(config),
        max_instances=run.max_instances,
        cpu_idle=billing_of(run) is Billing.REQUEST,
        accelerator=None if run.gpu is None else run.gpu.value,
        gpu="1" if has_gpu else None,
        gpu_zonal_redundancy_disabled=not run.zonal_redundancy,
        env=_environment(config, facts, placement, bucket),
        secrets={name: SecretRef(names.secret(config.service.name, name), "") for name in secret_names(config)},
        volumes={} if bucket is None else {"relight-store": Volume(bucket=bucket, path=STORE)},
        labels=dict(names.labels(config.service.name)),
    )


def _probe(config: Config, facts: Facts, placement: Placement) -> Probe:
    return fit.startup_probe(facts, placement, has_gpu=config.deploy.cloudrun.gpu is not None)


def _environment(config: Config, facts: Facts, placement: Placement, bucket: str | None) -> dict[str, str]:
    """What a container is told beyond the configuration in its image. PORT and K_… are the platform's own."""
    found = {"RELIGHT_SERVER__HOST": "0.0.0.0"}  # noqa: S104 - the container has one network, and the platform stands before it
    if config.server.trusted_hops == 0:
        found["RELIGHT_SERVER__TRUSTED_HOPS"] = "1"
    if config.deploy.cloudrun.invokers and config.auth.keys.secret is None:
        # Google has asked everybody already; without this the front door would let nobody in.
        found[names.PUBLIC] = "true"
    if bucket is not None:
        found[env_name(("prefixes", "dir"))] = f"{STORE}/prefixes"
        found[env_name(("prefixes", "baked"))] = PREFIXES
        # The image says no, for it has nowhere to keep them.
        found[env_name(("prefixes", "learn"))] = str(config.prefixes.learn).lower()
    if placement is Placement.BUCKET and bucket is not None:
        found["RELIGHT_WEIGHTS__DOWNLOAD"] = "true"
        for file in _weights(facts):
            found[env_name(("models", file.model, "source"))] = f"gs://{bucket}/{file.object}"
            found[env_name(("models", file.model, "sha256"))] = file.sha256
    return found


def _memory(size: int) -> str:
    return f"{size >> 30}Gi" if size % (1 << 30) == 0 else f"{size >> 20}Mi"


__all__ = [
    "STORE",
    "Account",
    "Desired",
    "Grant",
    "Image",
    "SecretNeed",
    "WeightsFile",
    "billing_of",
    "concurrency_of",
    "desire",
    "secret_names",
    "slots",
]

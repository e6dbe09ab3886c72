"""Does the project stand ready: names, credentials, billing, permissions, quotas, policies, secrets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from relight.config.schema import Service
from relight.deploy import names, quota
from relight.deploy.findings import Case, Finding, error, note, passed, run_toml, toml, unknown, untold, warning
from relight.deploy.members import member
from relight.deploy.sizing import shape_of

_PROJECT: Final = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_UNNAMED: Final = Service().name
_MOST_NAME: Final = 49
_MOST_LABEL: Final = 63
_RESERVED: Final = ("PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION")

ROLES: Final = {
    "artifactregistry.repositories.create": "roles/artifactregistry.admin",
    "artifactregistry.repositories.setIamPolicy": "roles/artifactregistry.admin",
    "artifactregistry.repositories.update": "roles/artifactregistry.admin",
    "artifactregistry.repositories.uploadArtifacts": "roles/artifactregistry.writer",
    "cloudbuild.builds.create": "roles/cloudbuild.builds.editor",
    "cloudscheduler.jobs.create": "roles/cloudscheduler.admin",
    "cloudscheduler.jobs.delete": "roles/cloudscheduler.admin",
    "cloudscheduler.jobs.update": "roles/cloudscheduler.admin",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
    "iam.serviceAccounts.create": "roles/iam.serviceAccountCreator",
    "iam.serviceAccounts.setIamPolicy": "roles/iam.serviceAccountAdmin",
    "resourcemanager.projects.setIamPolicy": "roles/resourcemanager.projectIamAdmin",
    "run.services.create": "roles/run.admin",
    "run.services.setIamPolicy": "roles/run.admin",
    "run.services.update": "roles/run.admin",
    "secretmanager.secrets.create": "roles/secretmanager.admin",
    "secretmanager.secrets.setIamPolicy": "roles/secretmanager.admin",
    "secretmanager.versions.add": "roles/secretmanager.admin",
    "serviceusage.services.enable": "roles/serviceusage.serviceUsageAdmin",
    "storage.buckets.create": "roles/storage.admin",
    "storage.buckets.setIamPolicy": "roles/storage.admin",
    "storage.objects.create": "roles/storage.admin",
}
"""Every permission that a step can take, and the role that is proposed for it."""


def project(case: Case) -> Iterator[Finding]:
    """Whether a project is named at all."""
    named = case.config.deploy.cloudrun.project
    if named is None:
        yield error("project", "none is named", "everything is made in one", fit=run_toml(project="my-project"))
    elif not _PROJECT.fullmatch(named):
        why = "an id has 6 to 30 small letters, digits and hyphens (it is not the project's name, nor its number)"
        yield error("project", f'"{named}"', why, fit=run_toml(project="my-project"))
    else:
        yield passed("project", named)


def naming(case: Case) -> Iterator[Finding]:
    """Whether the names fit what Google takes."""
    service, number = case.config.service.name, case.observed and case.observed.project_number
    label = f"{service}-{number or '0' * 12}"
    if len(service) > _MOST_NAME or len(label) > _MOST_LABEL:
        most = min(_MOST_NAME, _MOST_LABEL - len(label) + len(service))
        why = f"at most {most} characters: the address of the service holds it and the project's number"
        yield error(
            "name", f'"{service}" has {len(service)} characters', why, fit=toml("service", name=service[:most].rstrip("-"))
        )
    else:
        yield passed("name", f"https://{service}-{number or 'NUMBER'}.{case.desired.region}.run.app")
    if service == _UNNAMED:
        what = f"the service is called {service} because relight.toml names none"
        why = "another folder without a name would overwrite it"
        yield warning("name", what, why, fit=toml("service", name="my-service"))
    for need in case.desired.secrets:
        if need.variable in _RESERVED:
            why = "the platform sets this variable itself"
            yield error("name", f"a secret is called {need.variable}", why, do="give the secret another name")


def credentials(case: Case) -> Iterator[Finding]:
    """Whether somebody is signed in."""
    if case.observed is None:
        yield unknown("credentials", "who asks")
    elif case.observed.principal is None:
        do = "run: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS"
        yield error("credentials", "none", "Google does not know who asks", do=do)
    else:
        yield passed("credentials", case.observed.principal)


def account_billing(case: Case) -> Iterator[Finding]:
    """Whether the project pays."""
    said = case.observed and case.observed.billing_enabled
    if said is None:
        yield untold(case, "billing account", "whether the project has one", "cloudbilling.googleapis.com")
    elif not said:
        do = f"link one: https://console.cloud.google.com/billing/linkedaccount?project={case.desired.project}"
        yield error("billing account", "none", "Cloud Run and Cloud Build want one, within the free tier as well", do=do)
    else:
        yield passed("billing account", "linked")


def apis(case: Case) -> Iterator[Finding]:
    """Which APIs will be enabled."""
    if case.observed is None:
        yield unknown("APIs", "which of them are enabled")
        return
    missing = [api for api in case.desired.apis if api not in case.observed.apis]
    if missing:
        yield note("APIs", f"not enabled: {', '.join(missing)}", "the first step of the plan enables them; it may take a minute")
    else:
        yield passed("APIs", f"{len(case.desired.apis)} enabled")


def permissions(case: Case) -> Iterator[Finding]:
    """Whether whoever deploys may do what the plan does."""
    if case.observed is None or case.observed.permissions is None:
        api = "cloudresourcemanager.googleapis.com"
        yield untold(case, "permissions", "whether all steps of the plan are allowed", api)
        return
    missing = sorted(case.needs - case.observed.permissions)
    by_role: dict[str, list[str]] = {}
    for permission in missing:
        by_role.setdefault(ROLES[permission], []).append(permission)
    for role, lacking in by_role.items():
        who = member(case.observed.principal or "MEMBER")
        do = f"ask an owner: gcloud projects add-iam-policy-binding {case.desired.project} --member={who} --role={role}"
        yield error("permissions", f"missing: {', '.join(lacking)}", "a step of the plan would be refused", do=do)
    if not missing:
        yield passed("permissions", f"{len(case.needs)} that the plan takes")


def quotas(case: Case) -> Iterator[Finding]:
    """Whether the most instances fit the quotas of the region."""
    run, have = case.config.deploy.cloudrun, None if case.observed is None else case.observed.quotas
    wanted = quota.needs(shape_of(case), run.max_instances, zonal_redundancy=run.zonal_redundancy)
    if have is None:
        said = ", ".join(f"{need.say(need.total)} ({need.quota})" for need in wanted)
        yield untold(case, "quota", f"whether there is room for {said}", "cloudquotas.googleapis.com")
        return
    for need in wanted:
        if need.quota in have:
            yield _room(case, need, have[need.quota])
        else:
            why = f"cloudquotas.googleapis.com does not say what {run.region} has of it"
            do = f"look: https://console.cloud.google.com/iam-admin/quotas?project={case.desired.project}"
            yield unknown("quota", f"whether there is room for {need.say(need.total)} ({need.quota})", why, do=do)
    if run.gpu is not None and run.zonal_redundancy:
        why = "it has a price and a quota of its own, which a project has none of until it asks"
        yield warning("quota", "a GPU in a second zone", why, fit=run_toml(zonal_redundancy=False))


def _room(case: Case, need: quota.Need, have: int) -> Finding:
    seen = f"{need.say(need.total)} of {need.say(have)}"
    ask = quota.request(need, project=case.desired.project, region=case.desired.region)
    if need.total > have:
        fits = have // need.each
        better = run_toml(max_instances=fits) if fits else None
        why = "Cloud Run refuses a service whose most instances do not fit"
        return replace(error("quota", seen, why, fit=better, do=f"or ask for more: {ask.command}"), quota=ask)
    if need.what == "GPU" and need.total * 2 > have and case.observed is not None and case.observed.service is not None:
        why = "while a revision takes over, old and new hold GPUs: a deployment may wait for one, or be refused"
        more = quota.request(need, project=case.desired.project, region=case.desired.region, value=need.total * 2)
        return replace(note("quota", seen, why, do=more.command), quota=more)
    return passed("quota", seen)


def policies(case: Case) -> Iterator[Finding]:
    """What a dry run of the server refused."""
    if case.observed is None:
        yield unknown("policies", "what the organisation forbids")
        return
    for refusal in case.observed.refusals:
        field = refusal.field.replace("_", "").lower()
        seen = f"{refusal.field}: {refusal.message}"
        if "invokeriam" in field or "allusers" in refusal.message.lower():
            better = run_toml(invokers=[member(case.observed.principal or "me@example.com")])
            why = "the organisation wants Google's own check in front of every service"
            yield error("policies", seen, why, fit=better, do="callers send their key as it is, and X-Serverless-Authorization")
        elif "ingress" in field:
            yield error("policies", seen, "the organisation limits who can reach it", fit=run_toml(ingress="internal"))
        else:
            yield error(
                "policies", seen, "a dry run was refused, so the deployment would be", do="correct what the message names"
            )
    if not case.observed.refusals:
        yield passed("policies", "a dry run was taken")


def secrets(case: Case) -> Iterator[Finding]:
    """Whether every secret has a text, here or there."""
    there = {} if case.observed is None else case.observed.secrets
    for need in case.desired.secrets:
        state = there.get(need.secret)
        if need.variable in case.facts.secrets_here or (state is not None and state.latest):
            yield passed("secrets", f"{need.variable} as {need.secret}")
        elif case.observed is None:
            yield unknown("secrets", f"{need.variable} is not here; whether {need.secret} has a version")
        else:
            do = f"set {need.variable} in the environment or .env"
            yield error(
                "secrets", f"{need.variable}: no text, neither here nor in the cloud", "the service would not start", do=do
            )


def things(case: Case) -> Iterator[Finding]:
    """Whether what the configuration names, and others made, is there and in the right place."""
    run, seen = case.config.deploy.cloudrun, case.observed
    if seen is None:
        return
    if run.service_account and run.service_account not in seen.accounts:
        do = "make it, or leave service_account out for one of its own"
        yield error("service account", f"there is no {run.service_account}", "only accounts of our own are made", do=do)
    bucket = seen.buckets.get(case.desired.bucket)
    if bucket is not None and not bucket.is_mine:
        better = run_toml(bucket=names.bucket(case.desired.project, case.desired.service + "-2"))
        why = "names of buckets are shared by everybody, and this one is somebody else's: nothing may be put there"
        yield error("bucket", f"{case.desired.bucket} belongs to another project", why, fit=better)
    elif bucket is not None and bucket.region.lower() != case.desired.region:
        why = "each start reads the weights from there: slower, and the way between regions is paid for"
        yield warning("bucket", f"{case.desired.bucket} lies in {bucket.region}", why, do="use one in the service's region")
    if seen.service is not None and not case.desired.labels.items() <= seen.service.settings.labels.items():
        why = "a deployment replaces what it runs and who may call it, and from then on relight destroy removes it"
        yield warning(
            "service", f"{case.desired.service} is there, and was not made by relight", why, do="give service.name another"
        )
    if seen.service is not None and seen.service.is_off:
        why = "a deployment leaves it off, and its test cannot be answered"
        yield error("service", "it is switched off", why, do="run: relight on")

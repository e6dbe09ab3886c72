"""Jobs of Cloud Scheduler that keep a service awake in its windows: found, made, removed. Knows no configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from relight.cloud.calls import FRESH_ACCOUNT, FRESH_API, either, is_missing, is_there
from relight.cloud.google import SCOPES, Google
from relight.cloud.seen import seen
from relight.deploy.steps import RemoveSchedule, SetSchedule
from relight.deploy.warm import PING_PATH, Schedule, mark, prefix, region_of, scale_uri
from relight.errors import CloudError

if TYPE_CHECKING:
    from google.cloud.scheduler_v1 import Job

_SCOPE: Final = SCOPES[0]
_FIELDS: Final = ("description", "schedule", "time_zone", "http_target", "retry_config", "attempt_deadline")
# A window that does not open costs a wake; one that does not close costs money until the next.
_TRIES: Final = 5
_DEADLINE_S: Final = 180


def found_schedules(google: Google, service: str) -> dict[str, Schedule | None]:
    """The jobs of this service that we made, by their names; None for one that is not as we make them (paused, changed)."""
    # Where the API is not enabled, or Scheduler is not in the region, there are no jobs.
    what, parent = f"list the jobs of {service}", _location(google, region_of(google.region))
    none: list[Job] = []
    jobs = seen(lambda: google.call(what, lambda **how: list(google.schedules.list_jobs(**how)), parent=parent), none)
    ours = [job for job in jobs if job.description == mark(service) and _id(job).startswith(prefix(service))]
    return {_id(job): _schedule(google, service, job) for job in ours}


def set_schedule(google: Google, step: SetSchedule) -> None:
    """Make the job, or make it as it should be. Raises `CloudError`, also for a job of that name that is somebody else's."""
    schedule = step.schedule
    parent = _location(google, schedule.region)
    job = _job(schedule, f"{parent}/jobs/{schedule.name}", step.service, schedule.uri or _address(google, step.service))
    fresh = either([FRESH_API, FRESH_ACCOUNT])
    try:
        google.call(f"make the job {schedule.name}", google.schedules.create_job, parent=parent, job=job, settles=fresh)
    except CloudError as error:
        if not is_there(error):
            raise
        _update(google, step, job)


def remove_schedule(google: Google, step: RemoveSchedule) -> None:
    """Delete the job; one that is gone already is fine."""
    delete_schedule(google, step.name, step.region)


def delete_schedule(google: Google, name: str, region: str) -> None:
    """Delete a job by its name and region; one that is gone already is fine."""
    try:
        google.call(f"delete the job {name}", google.schedules.delete_job, name=f"{_location(google, region)}/jobs/{name}")
    except CloudError as error:
        if not is_missing(error):
            raise


def _update(google: Google, step: SetSchedule, job: Job) -> None:
    from google.cloud.scheduler_v1 import Job
    from google.protobuf.field_mask_pb2 import FieldMask

    what = f"change the job {step.name}"
    there = google.call(what, google.schedules.get_job, name=job.name)
    if there.description != mark(step.service):
        raise CloudError(
            f"cloud: the job {step.name} was not made by relight, or for another service",
            hint="delete it, or give the service another name",
        )
    mask = FieldMask(paths=list(_FIELDS))
    google.call(what, google.schedules.update_job, job=job, update_mask=mask, settles=FRESH_ACCOUNT)
    if there.state == Job.State.PAUSED:
        google.call(f"resume the job {step.name}", google.schedules.resume_job, name=job.name)


def _job(schedule: Schedule, name: str, service: str, uri: str) -> Job:
    from google.cloud.scheduler_v1 import HttpMethod, Job, RetryConfig
    from google.protobuf.duration_pb2 import Duration

    scales = schedule.instances is not None
    target: dict[str, Any] = {"uri": uri, "http_method": HttpMethod.PATCH if scales else HttpMethod.GET}
    if scales:
        target["headers"] = {"Content-Type": "application/json"}
        target["body"] = json.dumps({"scaling": {"minInstanceCount": schedule.instances}}).encode()
        target["oauth_token"] = {"service_account_email": schedule.account, "scope": _SCOPE}
    elif schedule.account is not None:
        # The audience is the service, not the path: Cloud Run takes no other.
        root = uri.removesuffix(PING_PATH)
        target["oidc_token"] = {"service_account_email": schedule.account, "audience": root}
    return Job(
        name=name,
        description=mark(service),
        schedule=schedule.cron,
        time_zone=schedule.time_zone,
        http_target=target,
        retry_config=RetryConfig(retry_count=_TRIES if scales else 0),
        attempt_deadline=Duration(seconds=_DEADLINE_S),
    )


def _schedule(google: Google, service: str, job: Job) -> Schedule | None:
    """The schedule that the job would be made from; None where there is none."""
    from google.cloud.scheduler_v1 import Job

    target = job.http_target
    scales = target.uri == scale_uri(google.project, google.region, service)
    token = target.oauth_token if scales else target.oidc_token
    found = Schedule(
        name=_id(job),
        region=job.name.split("/")[3],
        cron=job.schedule,
        time_zone=job.time_zone,
        uri=target.uri,
        instances=_instances(target.body) if scales else None,
        account=token.service_account_email or None,
    )
    made = _job(found, job.name, service, target.uri).http_target
    # Headers are left out: Scheduler adds some of its own.
    is_same = (made.http_method, made.body, made.oauth_token, made.oidc_token) == (
        target.http_method,
        target.body,
        target.oauth_token,
        target.oidc_token,
    )
    is_known = scales == (found.instances is not None) and (scales or target.uri.endswith(PING_PATH))
    return found if is_same and is_known and job.state == Job.State.ENABLED else None


def _instances(body: bytes) -> int | None:
    try:
        found = json.loads(body)["scaling"]["minInstanceCount"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None


def _address(google: Google, service: str) -> str:
    what = f"read the address of {service}"
    there = google.call(what, google.services.get_service, name=f"{google.location}/services/{service}")
    return f"{there.uri.rstrip('/')}{PING_PATH}"


def _location(google: Google, region: str) -> str:
    return f"projects/{google.project}/locations/{region}"


def _id(job: Job) -> str:
    return job.name.rpartition("/")[2]

"""The catalogue of causes, each by the words that Google, or Relight, tells it with."""

from __future__ import annotations

import re

import pytest

from relight.config.keys import schema, walk
from relight.config.schema import Config, Model, Service
from relight.deploy.catalogue import REFUSALS
from relight.deploy.causes import _OWN, _OWN_REST, cause, cause_of

SIGN_IN = "gcloud auth application-default login"
# Status, message, a part of what to do.
TOLD = [
    # credentials
    ("UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token.", SIGN_IN),
    ("", "('invalid_grant: Bad Request', {'error': 'invalid_grant', 'error_subtype': 'invalid_rapt'})", SIGN_IN),
    ("", "Reauthentication is needed. Please run `gcloud auth application-default login` to reauthenticate.", SIGN_IN),
    ("", "('invalid_grant: Token has been expired or revoked.', {'error': 'invalid_grant'})", SIGN_IN),
    ("", "invalid_grant: Invalid JWT Signature.", "make a new key"),
    ("", "invalid_grant: Invalid grant: account not found", "make a new key"),
    (
        "",
        (
            "invalid_grant: Invalid JWT: Token must be a short-lived token and in a reasonable timeframe. Check your iat "
            "and exp values in the JWT claim."
        ),
        "set it, and run it again",
    ),
    ("PERMISSION_DENIED", "Request had insufficient authentication scopes.", SIGN_IN),
    (
        "PERMISSION_DENIED",
        (
            "Your application is using local Application Default Credentials. The cloudquotas.googleapis.com API "
            "requires a quota project, which is not set by default."
        ),
        "set-quota-project",
    ),
    # project
    (
        "PERMISSION_DENIED",
        "This API method requires billing to be enabled. Please enable billing on project #my-project by visiting ...",
        "billing/linkedaccount",
    ),
    ("FAILED_PRECONDITION", "Billing account for project '123' is not found. Billing must be enabled for ...", "billing/linked"),
    ("PERMISSION_DENIED", "The billing account for the owning project is disabled in state absent", "billing/linked"),
    (
        "PERMISSION_DENIED",
        "Cloud Run Admin API has not been used in project 123 before or it is disabled. Enable it by visiting ... then retry.",
        "wait a minute",
    ),
    ("PERMISSION_DENIED", "Project 'my-projct' not found or deleted.", "gcloud projects list"),
    ("PERMISSION_DENIED", "Permission denied on resource project my-projct.", "gcloud projects list"),
    (
        "PERMISSION_DENIED",
        "Location europe-west44 is not found or access is unauthorized.",
        "spelling of deploy.cloudrun.region",
    ),
    # policies of an organisation
    (
        "FAILED_PRECONDITION",
        "'europe-west4' violates constraint 'constraints/gcp.resourceLocations' on it.",
        "set deploy.cloudrun.region",
    ),
    (
        "INVALID_ARGUMENT",
        "invoker_iam_disabled: Setting is not allowed by the org policy constraints/run.managed.requireInvokerIam.",
        "deploy.cloudrun.invokers",
    ),
    (
        "FAILED_PRECONDITION",
        "One or more users named in the policy do not belong to a permitted customer, perhaps due to an organization policy.",
        "deploy.cloudrun.invokers",
    ),
    (
        "FAILED_PRECONDITION",
        "ingress: Constraint constraints/run.allowedIngress violated for projects/my-project attempting to use all.",
        'ingress = "internal"',
    ),
    (
        "FAILED_PRECONDITION",
        "Service account creation is not allowed on this project: constraints/iam.disableServiceAccountCreation.",
        "deploy.cloudrun.service_account",
    ),
    ("FAILED_PRECONDITION", "violates constraints/run.allowedBinaryAuthorizationPolicies", "have the project exempted"),
    (
        "PERMISSION_DENIED",
        "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: abc",
        "from a machine within it",
    ),
    # roles and secrets
    (
        "PERMISSION_DENIED",
        (
            "Permission 'iam.serviceaccounts.actAs' denied on service account portfolio-serve@p.iam.gserviceaccount.com "
            "(or it may not exist)."
        ),
        "roles/iam.serviceAccountUser",
    ),
    ("PERMISSION_DENIED", "Permission 'run.services.create' denied on resource 'namespaces/p/services/x'.", "ask an owner"),
    (
        "SECRETS_ACCESS_CHECK_FAILED",
        (
            "Permission denied on secret: projects/1/secrets/portfolio-RELIGHT_KEYS/versions/1 for Revision service account "
            "serve@p.iam.gserviceaccount.com. The service account used must be granted the 'Secret Manager Secret Accessor' "
            "role."
        ),
        "wait a minute",
    ),
    (
        "INVALID_ARGUMENT",
        "Secret projects/1/secrets/portfolio-RELIGHT_KEYS/versions/3 was not found",
        "in the environment or .env",
    ),
    ("FAILED_PRECONDITION", "Secret Version [projects/1/secrets/x/versions/1] is in DESTROYED state.", "environment or .env"),
    # quotas and shapes
    (
        "INVALID_ARGUMENT",
        (
            "template.scaling: You do not have quota for using GPUs with zonal redundancy. Learn more about it: "
            "g.co/cloudrun/gpu-redundancy-help"
        ),
        "zonal_redundancy = false",
    ),
    (
        "INVALID_ARGUMENT",
        "template.scaling: You do not have quota for using GPUs without zonal redundancy. ",
        "lower deploy.cloudrun.max_instances, or ask: relight deploy --plan",
    ),
    (
        "INVALID_ARGUMENT",
        "template.scaling.max_instance_count: Max instances must be set to 5 or fewer to set the requested CPU.",
        "max_instances",
    ),
    ("RESOURCE_EXHAUSTED", "Quota violated: MaxInstances requested: 100 allowed: 20", "max_instances"),
    ("INVALID_ARGUMENT", "CPU throttling must be disabled for services with a GPU", 'billing = "instance"'),
    ("INVALID_ARGUMENT", "GPU requires at least 4 CPU and 16Gi of memory", 'cpu = 8 and memory = "32GiB"'),
    ("INVALID_ARGUMENT", "node_selector: GPU nvidia-l4 is not supported in region europe-west9", "set deploy.cloudrun.region"),
    (
        "INVALID_ARGUMENT",
        "Invalid value specified for memory. For 1.0 CPU, memory must be between 128Mi and 4Gi inclusive.",
        "relight doctor --target cloudrun",
    ),
    ("INVALID_ARGUMENT", "startup_probe: period_seconds must be a number between 0 and 240", 'weights = "image"'),
    # images
    (
        "CONTAINER_IMAGE_UNAUTHORIZED",
        (
            "Google Cloud Run Service Agent service-1@serverless-robot-prod.iam must have permission to read the "
            "image, europe-west4-docker.pkg.dev/p/r/i@sha256:aa."
        ),
        "roles/artifactregistry.reader",
    ),
    ("CONTAINER_MISSING", "Image 'europe-west4-docker.pkg.dev/p/r/i@sha256:aa' not found.", "it is built again"),
    (
        "INVALID_ARGUMENT",
        "Container manifest type 'application/vnd.oci.image.index.v1+json' must support amd64/linux.",
        "--platform linux/amd64",
    ),
    ("FAILED_PRECONDITION", "The repository has enabled tag immutability; tag r-1 is immutable", "allow tags to be moved"),
    (
        "BUILD_FAILURE",
        'denied: Permission "artifactregistry.repositories.uploadArtifacts" denied on resource',
        "artifactregistry.writer",
    ),
    # builds
    (
        "FAILED_PRECONDITION",
        "due to quota restrictions, Cloud Build cannot run builds in this region, see the list",
        "Concurrent Build CPUs",
    ),
    ("BUILD_FAILURE", "write /layer.tar: no space left on device", 'weights = "bucket"'),
    (
        "BUILD_FAILURE",
        "toomanyrequests: You have reached your unauthenticated pull rate limit.",
        "deploy.image.base",
    ),
    ("BUILD_FAILURE", "ERROR: No matching distribution found for xllamacpp==9", "install the version that is"),
    ("BUILD_TIMEOUT", "build ran for longer than its timeout", 'weights = "bucket"'),
    ("BUILD_FAILURE", 'build step 0 "gcr.io/cloud-builders/docker" failed: step exited with non-zero status: 137', "bucket"),
    (
        "BUILD_FAILURE",
        'build step 0 "gcr.io/cloud-builders/docker" failed: step exited with non-zero status: 1',
        "relight image build",
    ),
    ("BUILD_CANCELLED", "", "run it again"),
    ("BUILD_INTERNAL_ERROR", "", "status.cloud.google.com"),
    # instances
    (
        "HEALTH_CHECK_CONTAINER_ERROR",
        (
            "The user-provided container failed to start and listen on the port defined provided by the PORT=8080 environment "
            "variable within the allocated timeout."
        ),
        "relight logs",
    ),
    (
        "HEALTH_CHECK_CONTAINER_ERROR",
        (
            "The user-provided container failed the configured startup probe checks. Startup probes timed out after 4m (24 "
            "attempts with a timeout of 5s each)."
        ),
        "deploy.cloudrun.cpu",
    ),
    ("PROGRESS_DEADLINE_EXCEEDED", "Revision was not ready within the deadline.", "deploy.cloudrun.cpu"),
    (
        "",
        (
            "Memory limit of 512 MiB exceeded with 545 MiB used. Consider increasing the memory limit, see "
            "https://cloud.google.com/run/docs/configuring/memory-limits"
        ),
        "raise deploy.cloudrun.memory",
    ),
    ("MIN_INSTANCES_NOT_PROVISIONED", "", "another deploy.cloudrun.region"),
    ("VPC_NETWORK_NOT_FOUND", "VPC network default was not found", "take it off the service"),
    ("ENCRYPTION_KEY_PERMISSION_DENIED", "", "enable the key"),
    # answers of a service
    ("HTTP_401", "Unauthorized", "deploy.cloudrun.invokers"),
    ("HTTP_403", "Your client does not have permission to get URL / from this server.", "deploy.cloudrun.invokers"),
    ("HTTP_404", "The requested URL was not found on this server.", "deploy.cloudrun.ingress"),
    ("HTTP_429", "The request was aborted because there was no available instance.", "max_instances"),
    ("HTTP_500", "The server encountered an error", "relight logs --errors"),
    ("HTTP_503", "The service you requested is not available yet.", "relight logs --errors"),
    ("HTTP_504", "upstream request timeout", "deploy.cloudrun.timeout"),
    # the rest
    (
        "CONFLICT",
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system.",
        "deploy.cloudrun.bucket",
    ),
    ("ABORTED", "Conflict for resource 'portfolio': version '2' was specified but current version is '3'.", "run it again"),
    (
        "RESOURCE_EXHAUSTED",
        "Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute'",
        "wait a minute",
    ),
    ("UNAVAILABLE", "The service is currently unavailable.", "status.cloud.google.com"),
    ("INTERNAL", "An internal error has occurred.", "status.cloud.google.com"),
]
# A line of a revision's log, a part of what to do.
WRITTEN = [
    (
        "error: auth.keys: no secret called RELIGHT_KEYS: neither the environment nor /app/.env has it; set it",
        "set it here, and run relight deploy",
    ),
    ('error: model "smol": /tmp/w/smol.gguf: sha256 should be aa, got bb; it is not what it should be', "models.NAME.sha256"),
    (
        'model "smol": engine killed by SIGKILL after 3.1 s; last lines: it wrote nothing; it may have run out of memory: use',
        "raise deploy.cloudrun.memory",
    ),
    ('error: server.memory: model "smol" needs about 9GiB awake, got 8GiB; raise it', "raise deploy.cloudrun.memory"),
    ("Memory limit of 8192 MiB exceeded with 8200 MiB used.", "raise deploy.cloudrun.memory"),
    ("Container terminated on signal 9.", "raise deploy.cloudrun.memory"),
    ('model "smol": engine killed by SIGILL after 0.1 s; last lines: it wrote nothing', "builds a portable one"),
    ("Uncaught signal: 4, pid=1, tid=1, fault_addr=1", "builds a portable one"),
    ("Illegal instruction (core dumped)", "builds a portable one"),
    ("Uncaught signal: 11, pid=7, tid=7, fault_addr=0", "relight image run"),
    (
        "ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory",
        "the larger deploy.cloudrun.gpu",
    ),
    ("ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected", "set deploy.cloudrun.gpu"),
    ("error: gs://b/w/smol.gguf: storage.googleapis.com answered 403: access denied", "roles/storage.objectUser"),
    ("error: gs://b/w/smol.gguf: the metadata server knows no account of this container", "roles/storage.objectUser"),
    ("error: gs://b/w/smol.gguf: storage.googleapis.com answered 404: there is no such file", "it puts them there"),
    ('error: model "smol": not downloaded; run: relight models pull smol', "it puts them there"),
    (
        "Error while mounting gcsfuse: mountWithArgs: SetUpBucket: error in iterating through objects: googleapi: Error 403",
        "roles/storage.objectUser",
    ),
    ("ModuleNotFoundError: No module named 'onnxruntime'", "build the image again"),
    ("OSError: [Errno 30] Read-only file system: '/app/x'", "below /tmp"),
    ("exec /usr/bin/relight: exec format error", "--platform linux/amd64"),
    ("Application exec likely failed", "relight image print"),
    ("error: relight.toml: engine.idle_after: should be a duration", "correct what the line names"),
    ("Traceback (most recent call last):", "relight image run"),
    (
        'STARTUP HTTP probe failed 24 times consecutively for container "portfolio-1" on port 8080 path "/readyz".',
        "deploy.cloudrun.cpu",
    ),
]


@pytest.mark.parametrize(("status", "message", "do"), TOLD, ids=[f"{status} {message[:40]}" for status, message, _ in TOLD])
def test_refusal_has_a_cause_with_what_to_do(status: str, message: str, do: str) -> None:
    found = cause(status, message)

    assert found is not None
    assert do in found.do


def test_what_nobody_knows_has_none() -> None:
    assert cause("INVALID_ARGUMENT", "The colour of the service is wrong.") is None
    assert cause_of(["portfolio is listening; smol asleep until somebody asks.", "  page  http://0.0.0.0:8080/"]) is None
    assert cause_of([]) is None


def test_every_row_is_reached_by_the_words_of_its_test() -> None:
    """What stands behind a more general pattern would never be found."""
    reached = {(found.why, found.do) for status, message, _ in TOLD if (found := cause(status, message))}
    reached |= {(found.why, found.do) for line, _ in WRITTEN if (found := cause_of([line]))}
    unreached = [pattern for pattern, why, do in (*REFUSALS, *_OWN, *_OWN_REST) if (why, do) not in reached]

    assert unreached == []


@pytest.mark.parametrize(("line", "do"), WRITTEN, ids=[line[:40] for line, _ in WRITTEN])
def test_last_words_have_a_cause_with_what_to_do(line: str, do: str) -> None:
    found = cause_of(["portfolio is listening", line, "Container called exit(1)."])

    assert found is not None
    assert do in found.do


def test_what_the_program_says_comes_before_what_the_platform_says_of_it() -> None:
    lines = [
        "error: auth.keys: no secret called RELIGHT_KEYS: neither the environment nor /app/.env has it",
        "Container called exit(3).",
        'STARTUP HTTP probe failed 1 time consecutively for container "portfolio-1" on port 8080 path "/readyz".',
    ]

    assert cause_of(lines) == cause_of(lines[:1])
    assert cause_of(lines) != cause_of(lines[2:])


def test_advice_names_keys_of_the_configuration_that_there_are() -> None:
    config = Config(service=Service(name="x"), models={"NAME": Model()})
    known = {".".join(path) for path, _, _ in walk(schema(), config)}
    named = {name for _, _, do in REFUSALS for name in re.findall(r"\b(?:deploy|models)\.[\w.]+\w", do)}

    assert named
    assert named <= known

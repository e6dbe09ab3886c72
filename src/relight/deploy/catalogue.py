"""Google's own words for what goes wrong, each with what is behind it and what to do: tables only.

A row is a pattern, why it happened, what to do. Patterns are looked for in `STATUS: message`, in any case; the first that is
found wins, so what is specific stands before what is general. The words are those of refusals, conditions and logs of 2026.
A service that was asked and refused is `HTTP_403: …`, a build that ended is `BUILD_FAILURE: …`.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Row: TypeAlias = tuple[str, str, str]
Table: TypeAlias = tuple[Row, ...]

SIGN_IN: Final = "sign in again: gcloud auth application-default login"
_LOGS: Final = "its last words say why: relight logs"
_QUOTA: Final = "relight deploy --plan names the request for more"
MEMORY: Final = (
    "the instance took more memory than it has: weights, their cache and every file that it writes count",
    "raise deploy.cloudrun.memory, or lower models.NAME.context or parallel",
)
"""Why and what to do, for an instance that was killed for its memory."""
CPU: Final = (
    "the program uses instructions that this processor does not have",
    "build the image again: relight deploy builds a portable one",
)
"""Likewise, for an instruction that is not there."""

_CREDENTIALS: Final[Table] = (
    (r"(invalid_|\b)rapt|reauth", "the organisation wants whoever deploys to sign in anew from time to time", SIGN_IN),
    (r"invalid jwt.*iat and exp|short-lived token", "the clock of this machine is wrong", "set it, and run it again"),
    (
        r"invalid jwt signature|account not found",
        "the key file belongs to an account, or a key, that was deleted",
        "make a new key, or sign in without one",
    ),
    (r"invalid_grant|expired or revoked", "the credentials have expired or were revoked", SIGN_IN),
    (
        r"insufficient authentication scopes|ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "whoever is signed in did not allow all of Google Cloud",
        SIGN_IN,
    ),
    (
        r"requires? a quota project",
        "the credentials name no project that the calls count for",
        "run: gcloud auth application-default set-quota-project PROJECT",
    ),
    (r"^UNAUTHENTICATED|invalid authentication credentials", "Google does not know who asks", SIGN_IN),
)

_PROJECT: Final[Table] = (
    (
        r"BILLING_DISABLED|accountDisabled|enable billing|billing.*(disabled|not found|be enabled|not open|closed)",
        "the project has no billing account that pays, and Google wants one within the free tier as well",
        "link one: https://console.cloud.google.com/billing/linkedaccount",
    ),
    (
        r"SERVICE_DISABLED|has not been used in project|API .*(is |it is )disabled|accessNotConfigured",
        "the API is not enabled, or was a moment ago and not everywhere yet",
        "wait a minute and run it again: the first step of a deployment enables it",
    ),
    (
        (
            r"CONSUMER_INVALID|project '?[^' ]+'? (was )?(not found|deleted)"
            r"|permission denied on resource project|resource projects/[^ ]+ .*(not|deleted)"
        ),
        "there is no such project, or not for whoever is signed in",
        "check deploy.cloudrun.project: it is the id that gcloud projects list shows, not the name",
    ),
    (
        (
            r"location .* is not found or access is unauthorized"
            r"|(invalid|unknown|unsupported) (location|region)|invalid resource location"
        ),
        "Google does not know that region, or not for this project",
        "check the spelling of deploy.cloudrun.region",
    ),
)

_POLICIES: Final[Table] = (
    (
        r"vpcServiceControls|VPC_SERVICE_CONTROLS|prohibited by organization's policy",
        "the project lies within a perimeter, and whoever deploys outside",
        "deploy from a machine within it",
    ),
    (r"resourceLocations", "the organisation does not allow that region", "set deploy.cloudrun.region to one that it allows"),
    (
        r"requireInvokerIam|invoker_?iam_?disabled",
        "the organisation wants Google's own check in front of every service",
        'set deploy.cloudrun.invokers = ["user:ME@EXAMPLE.COM"]',
    ),
    (
        r"allowedPolicyMemberDomains|permitted customer|allUsers.*(not |policy)",
        "the organisation lets no stranger be given a role",
        "name members of the organisation in deploy.cloudrun.invokers, or leave it empty and have keys",
    ),
    (
        r"run\.allowedIngress|ingress.*(policy|not allowed)",
        "the organisation limits who can reach a service over the network",
        'set deploy.cloudrun.ingress = "internal"',
    ),
    (
        r"disableServiceAccountCreation",
        "the organisation lets nobody make service accounts",
        "have one made, and name it in deploy.cloudrun.service_account",
    ),
    (
        r"constraints/|org(anization)? policy",
        "a policy of the organisation forbids it",
        "change what the message names, or have the project exempted",
    ),
)

_SHAPES: Final[Table] = (
    (
        r"quota for using GPUs with zonal redundancy",
        "a GPU in a second zone has a quota of its own, which a project does not have until it asks",
        "set deploy.cloudrun.zonal_redundancy = false",
    ),
    (
        r"quota.*\bGPUs?\b|Nvidia\w+Gpu\w*Alloc|\bGPUs?\b.*quota",
        "the project has no room for the GPUs in that region",
        f"lower deploy.cloudrun.max_instances, or ask: {_QUOTA}",
    ),
    (
        (
            r"max instances must be set to|requested:? ?\d+,? allowed:? ?\d+"
            r"|quota violated|(Cpu|Mem)AllocPerProjectRegion"
        ),
        "the most instances do not fit the quotas of the region",
        f"lower deploy.cloudrun.max_instances, or ask: {_QUOTA}",
    ),
    (
        (
            r"(cpu.?throttling|cpu.?idle|request-based).*(gpu|accelerator)"
            r"|(gpu|accelerator).*(cpu.?throttling|cpu.?idle|cpu always)"
        ),
        "with a GPU there is no billing by request",
        'set deploy.cloudrun.billing = "instance", or leave it out',
    ),
    (
        (
            r"(gpu|accelerator|nvidia).*(not (supported|available|offered)|unsupported|unavailable).*(region|location)"
            r"|(region|location).*(not support|does not offer).*(gpu|accelerator|nvidia)"
        ),
        "that region does not have the GPU",
        "set deploy.cloudrun.region to one that has it: relight doctor --target cloudrun",
    ),
    (
        r"(gpu|accelerator).*(at least|minimum|requires?|must).*(cpu|memory)|(cpu|memory).*(gpu|accelerator)",
        "a GPU needs more CPUs and memory beside it",
        'set deploy.cloudrun.cpu = 8 and memory = "32GiB"',
    ),
    (
        r"invalid value specified for (container )?(cpu|memory)|memory.*cpu|cpu.*(memory|concurrency)",
        "Cloud Run does not have that mixture of CPUs, memory and concurrency",
        "relight doctor --target cloudrun names one that fits",
    ),
    (
        r"probe.*must be a number between|period_seconds|failure_threshold",
        "a start may not take that long",
        'use a smaller model, or deploy.cloudrun.weights = "image"',
    ),
)

_RIGHTS: Final[Table] = (
    (
        r"actAs\b|act as (the )?service account",
        "whoever deploys may not run things as the service's own account",
        "ask an owner for roles/iam.serviceAccountUser on that account",
    ),
    (
        r"SECRETS_ACCESS_CHECK_FAILED|permission denied on secret|secretmanager\.versions\.access|secretAccessor",
        "the service's account may not read the secret, or not everywhere yet",
        "wait a minute and run it again: a deployment gives it roles/secretmanager.secretAccessor",
    ),
    (
        r"secret.*(versions?/\S+|version).*(not found|destroyed|disabled)|secret .*not found",
        "a version of a secret is gone or disabled",
        "set its variable in the environment or .env, and run relight deploy",
    ),
)

_IMAGES: Final[Table] = (
    (
        r"must support amd64|exec format error|no match for platform|wrong architecture",
        "the image was made for another processor",
        "build it for linux/amd64, as Cloud Build does: relight deploy, or docker build --platform linux/amd64",
    ),
    (
        (
            r"CONTAINER_IMAGE_UNAUTHORIZED|CONTAINER_PERMISSION_DENIED|CONTAINER_IMAGE_AUTHORIZATION"
            r"|permission to read the image|artifactregistry\.repositories\.downloadArtifacts"
        ),
        "Cloud Run may not read the image",
        "give service-NUMBER@serverless-robot-prod.iam.gserviceaccount.com roles/artifactregistry.reader on its repository",
    ),
    (
        r"immutable",
        "the repository keeps tags as they are, and this one stands for another image",
        "allow tags to be moved in the repository, or change what the image is made of",
    ),
    (
        r"uploadArtifacts",
        "whoever builds may not push to the repository, or not everywhere yet",
        "wait a minute and run it again: a deployment gives it roles/artifactregistry.writer",
    ),
    (
        (
            r"CONTAINER_MISSING|MANIFEST_UNKNOWN|image .*not found"
            r"|manifest .*(unknown|not found)|failed to (fetch|pull).*manifest"
        ),
        "the image is not there: somebody deleted it, or the clean-up did",
        "run relight deploy: it is built again",
    ),
)

_BUILDS: Final[Table] = (
    (
        r"due to quota restrictions",
        "Cloud Build does not build for new projects in that region, or not on that machine",
        "set another deploy.cloudrun.region, or ask for more of Cloud Build's Concurrent Build CPUs: https://console.cloud.google.com/iam-admin/quotas",
    ),
    (
        r"no space left on device|disk (is )?full",
        "the build's disk is full",
        'keep weights out of the image: deploy.cloudrun.weights = "bucket"',
    ),
    (
        r"toomanyrequests|pull rate limit",
        "the registry of the base image refuses more downloads for now",
        "run it again later, or set deploy.image.base to a copy of it",
    ),
    (
        r"no matching distribution|could not find a version",
        "a Python package is not there in that version",
        "install the version that is, here, and run it again",
    ),
    (
        r"BUILD_\w*TIMEOUT|BUILD_EXPIRED|build .*(timed out|exceeded the timeout)",
        "the build took too long",
        'keep weights out of the image: deploy.cloudrun.weights = "bucket"',
    ),
    (
        r"(non-zero status|exit(ed with)? (code|status)):? 137",
        "a step of the build ran out of memory",
        'keep weights out of the image: deploy.cloudrun.weights = "bucket"',
    ),
    (r"BUILD_CANCELLED", "somebody stopped the build", "run it again: what is done stays done"),
    (r"BUILD_INTERNAL_ERROR", "Cloud Build itself failed", "run it again; see https://status.cloud.google.com"),
    (
        r"build step .*failed|^BUILD_FAILURE|non-zero status",
        "a step of the build failed; the log above says which",
        "try it here: relight image build",
    ),
)

_INSTANCES: Final[Table] = (
    (r"memory limit|out.of.memory|\boom\b|oomkill|signal:? ?9\b|exit\(137\)|exit code 137", *MEMORY),
    (r"signal:? ?4\b|SIGILL|illegal instruction|exit\(132\)", *CPU),
    (
        r"signal:? ?(6|11)\b|SIGSEGV|SIGABRT|exit\((134|139)\)",
        "the program crashed",
        f"try the image here (relight image run); {_LOGS}",
    ),
    (
        r"application exec likely failed|no such file or directory.*exec|exec.*no such file|failed to find command",
        "the image has no such program to start",
        "leave entrypoint and arguments to the image: relight image print shows it",
    ),
    (
        r"gcsfuse|mount(ing|ed)? .*(bucket|volume|gcs)|volume .*(fail|mount)",
        "the bucket could not be mounted: it is not there, or the service's account may not use it yet",
        "wait a minute and run it again: a deployment gives it roles/storage.objectUser",
    ),
    (
        r"MIN_INSTANCES_NOT_PROVISIONED|RESOURCES_UNAVAILABLE|no capacity|stockout",
        "the region has no instance of that shape to spare",
        "wait, or set another deploy.cloudrun.region or min_instances = 0",
    ),
    (
        r"VPC_NETWORK_NOT_FOUND|VPC_SUBNETWORK",
        "the network that somebody set on the service is not there",
        "take it off the service, or make it again",
    ),
    (r"ENCRYPTION_KEY", "the key that somebody set on the service cannot be used", "take it off the service, or enable the key"),
)

_STARTS: Final[Table] = (
    (
        r"startup.*probe.*(fail|timed out)|probes? timed out|PROGRESS_DEADLINE_EXCEEDED",
        "it was not ready in the time that a start may take: it ended before, or the weights take longer to load",
        f"{_LOGS}; for loading: raise deploy.cloudrun.cpu or memory, use a smaller model",
    ),
    (
        r"HEALTH_CHECK_CONTAINER_ERROR|listen on the port|container failed to start|failed to become healthy",
        "the container ended, or did not listen in time",
        _LOGS,
    ),
)

_ANSWERS: Final[Table] = (
    (
        r"^HTTP_429|no available instance",
        "every instance is taken, or there is none to be had, and the wait for one is over",
        "wait a minute; raise deploy.cloudrun.max_instances or concurrency",
    ),
    (
        r"^HTTP_40[13]:",
        "Google did not let the request through: who asked is not among the invokers, or the role has not spread yet",
        "name whoever deploys in deploy.cloudrun.invokers, wait a minute and run it again",
    ),
    (
        r"^HTTP_404:",
        "Google does not know the address yet, or does not let this network reach it",
        'wait a minute and run it again; deploy.cloudrun.ingress = "all" lets everybody reach it',
    ),
    (
        r"^HTTP_504|upstream request timeout",
        "the answer took longer than a request may",
        "raise deploy.cloudrun.timeout, or use a smaller model",
    ),
    (r"^HTTP_50[023]:", "the instance ended, or refused to answer", "see why: relight logs --errors"),
)

_GENERAL: Final[Table] = (
    (
        r"bucket name is not available|bucket .*already (exists|own)|namespace is shared by all users",
        "names of buckets are shared by everybody, and that one is taken",
        "set deploy.cloudrun.bucket to another",
    ),
    (r"^ABORTED|concurrent policy changes|conflict.*version|etag", "somebody else changed it at the same moment", "run it again"),
    (
        r"quota exceeded for quota metric|rate.?limit|^RESOURCE_EXHAUSTED",
        "more was asked of Google than a project may ask in a minute",
        "wait a minute and run it again",
    ),
    (r"^PERMISSION_DENIED", "whoever is signed in may not do that", "ask an owner for the role; relight deploy --plan names it"),
    (
        r"^(UNAVAILABLE|INTERNAL|DEADLINE_EXCEEDED):",
        "Google itself has trouble",
        "run it again in a moment; see https://status.cloud.google.com",
    ),
)

REFUSALS: Final[Table] = (
    *_CREDENTIALS,
    *_PROJECT,
    *_BUILDS[:1],  # its words hold "quota" and a region, and have nothing to do with Cloud Run's
    *_POLICIES,
    *_RIGHTS,
    *_IMAGES,
    *_BUILDS[1:],
    *_INSTANCES,
    *_STARTS,
    *_SHAPES,
    *_ANSWERS,
    *_GENERAL,
)
"""Everything."""
ENDS: Final[Table] = (*_IMAGES, *_INSTANCES)
"""What the platform writes into a revision's log about how an instance ended."""
STARTS: Final[Table] = _STARTS
"""That it did not start, and nothing about why."""

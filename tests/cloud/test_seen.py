"""What is not there, not allowed or not enabled is told apart, and what is looked at anyway goes on without it."""

from __future__ import annotations

import pytest

from relight.cloud.calls import is_disabled, is_missing
from relight.cloud.google import Google
from relight.cloud.seen import is_denied, seen
from relight.errors import CloudError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Refused

_PATH = "/v1/thing"
DISABLED = Refused(
    403,
    "PERMISSION_DENIED",
    "Secret Manager API has not been used in project 1 before or it is disabled. Enable it by visiting …",
)
DENIED = Refused(403, "PERMISSION_DENIED", "The caller does not have permission")
MISSING = Refused(404, "NOT_FOUND", "Secret [projects/1/secrets/x] not found.")
UNPAID = Refused(403, "accountDisabled", "The billing account for the owning project is disabled in state absent")
UNCOUNTED = Refused(
    403, "PERMISSION_DENIED", "The run.googleapis.com API requires a quota project, which is not set by default. To learn how …"
)


@pytest.mark.parametrize(
    ("refusal", "told"),
    [(DISABLED, "disabled"), (DENIED, "denied"), (MISSING, "missing"), (UNPAID, "denied"), (UNCOUNTED, "nothing of these")],
    ids=["disabled", "denied", "missing", "unpaid", "uncounted"],
)
def test_refusals_are_told_apart(cloud: Cloud, google: Google, refusal: Refused, told: str) -> None:
    cloud.fail(_PATH, refusal)
    with pytest.raises(CloudError) as caught:
        google.rest("look", "GET", "x.googleapis.com", _PATH)
    found = {"disabled": is_disabled(caught.value), "denied": is_denied(caught.value), "missing": is_missing(caught.value)}
    assert [name for name, is_so in found.items() if is_so] == ([told] if told in found else [])


@pytest.mark.parametrize("refusal", [DISABLED, DENIED, MISSING], ids=["disabled", "denied", "missing"])
def test_what_cannot_be_seen_is_not_there(cloud: Cloud, google: Google, refusal: Refused) -> None:
    cloud.fail(_PATH, refusal)
    assert seen(lambda: google.rest("look", "GET", "x.googleapis.com", _PATH), "nothing") == "nothing"


def test_whoever_sees_nothing_at_all_is_told_so(cloud: Cloud, google: Google) -> None:
    cloud.fail(_PATH, UNCOUNTED)
    with pytest.raises(CloudError, match="requires a quota project"):
        seen(lambda: google.rest("look", "GET", "x.googleapis.com", _PATH), None)


def test_a_server_that_fails_is_not_an_empty_project(cloud: Cloud, google: Google) -> None:
    cloud.fail(_PATH, Refused(500, "INTERNAL", "Internal error encountered."), times=9)
    with pytest.raises(CloudError, match="Internal error"):
        seen(lambda: google.rest("look", "GET", "x.googleapis.com", _PATH), None)

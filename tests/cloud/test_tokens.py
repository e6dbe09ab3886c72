"""Identity tokens of everybody who can be signed in, had from where Google gives them; every signature is checked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from relight.cloud.google import Google
from relight.cloud.tokens import Tokens
from relight.errors import CloudError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Refused
from tests.cloud.people import ACCOUNT, USER, account, acting_for, google_as, user

AUDIENCE = "https://portfolio-123456789012.europe-west4.run.app"
RUNNER = "runner@my-project.iam.gserviceaccount.com"
pytestmark = pytest.mark.usefixtures("address")


def claims(cloud: Cloud, token: str | None) -> dict[str, Any]:
    """What a token says, which has to be a whole one."""
    found = cloud.identities.claims(token or "")
    assert found is not None
    return {name: found[name] for name in ("aud", "email")}


def test_key_file_gives_a_token_for_the_audience(cloud: Cloud) -> None:
    google = google_as(cloud, account(cloud))

    assert claims(cloud, Tokens(google).identity(AUDIENCE)) == {"aud": AUDIENCE, "email": ACCOUNT}


def test_users_token_is_for_the_program_that_they_signed_in_with(cloud: Cloud) -> None:
    google = google_as(cloud, user(cloud))

    found = claims(cloud, Tokens(google).identity(AUDIENCE))

    assert found == {"aud": "the-client.apps.googleusercontent.com", "email": USER}


def test_user_who_is_not_to_be_known_has_none(cloud: Cloud) -> None:
    cloud.identities.opaque = True

    assert Tokens(google_as(cloud, user(cloud))).identity(AUDIENCE) is None


def test_nobody_has_none(google: Google) -> None:
    assert Tokens(google).identity(AUDIENCE) is None


def test_who_acts_for_an_account_gets_its_token(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    # The library knows one address for this, and takes no other.
    place = f"{cloud.address}/v1/projects/-/serviceAccounts/{{}}"
    monkeypatch.setattr("google.auth.iam._IAM_IDTOKEN_ENDPOINT", f"{place}:generateIdToken")
    cloud.identities.impersonators[RUNNER] = {ACCOUNT}
    google = google_as(cloud, acting_for(account(cloud), RUNNER))

    assert claims(cloud, Tokens(google).identity(AUDIENCE)) == {"aud": AUDIENCE, "email": RUNNER}


def test_who_may_not_act_for_an_account_is_told(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"{cloud.address}/v1/projects/-/serviceAccounts/{{}}"
    monkeypatch.setattr("google.auth.iam._IAM_IDTOKEN_ENDPOINT", f"{place}:generateIdToken")
    google = google_as(cloud, acting_for(account(cloud), RUNNER))

    with pytest.raises(CloudError, match=r"could not have an identity token: .*credentials were not taken.*PERMISSION_DENIED"):
        Tokens(google).identity(AUDIENCE)


def test_build_of_somebody_elses_is_the_account_that_it_acts_for(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.auth.identity_pool import Credentials

    monkeypatch.setattr(
        "google.auth.iam._IAM_IDTOKEN_ENDPOINT", f"{cloud.address}/v1/projects/-/serviceAccounts/{{}}:generateIdToken"
    )
    subject = tmp_path / "subject"
    subject.write_text("a-token-of-the-builder")
    cloud.identities.federated["a-token-of-the-builder"] = "builder@elsewhere"
    cloud.identities.impersonators[RUNNER] = {"builder@elsewhere"}
    pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/g"
    info = {
        "type": "external_account",
        "audience": pool,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{cloud.address}/v1/token",
        "credential_source": {"file": str(subject)},
    }
    acts = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{RUNNER}:generateAccessToken"
    credentials: Any = Credentials.from_info({**info, "service_account_impersonation_url": acts})
    alone: Any = Credentials.from_info(info)

    assert claims(cloud, Tokens(google_as(cloud, credentials)).identity(AUDIENCE)) == {"aud": AUDIENCE, "email": RUNNER}
    assert Tokens(google_as(cloud, alone)).identity(AUDIENCE) is None


def test_container_gets_it_from_the_metadata_server(cloud: Cloud, address: str, tmp_path: Path) -> None:
    cloud.identities.here = RUNNER
    host = address.removeprefix("http://")
    script = (
        "import sys\n"
        "from relight.cloud.google import signed_in\n"
        "from relight.cloud.tokens import Tokens\n"
        f"print(Tokens(signed_in('my-project', 'europe-west4')).identity({AUDIENCE!r}))"
    )
    env = {name: text for name, text in os.environ.items() if not name.startswith("GOOGLE_")}
    # The library reads these when it is imported, hence another process.
    env |= {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, "CLOUDSDK_CONFIG": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)

    assert claims(cloud, done.stdout.strip()) == {"aud": AUDIENCE, "email": RUNNER}, done.stderr


def test_key_that_was_deleted_is_told_with_what_to_do(cloud: Cloud) -> None:
    google = google_as(cloud, account(cloud))
    cloud.identities.keys.clear()

    with pytest.raises(CloudError, match="invalid_grant: Invalid grant: account not found") as told:
        Tokens(google).identity(AUDIENCE)

    assert told.value.hint == "make a new key, or sign in without one"


def test_busy_token_endpoint_is_asked_again(cloud: Cloud) -> None:
    google = google_as(cloud, account(cloud))
    cloud.fail("POST /token", Refused(503, "UNAVAILABLE", "try again"), times=1)

    assert Tokens(google).identity(AUDIENCE)


def test_token_is_kept_until_shortly_before_its_end(cloud: Cloud) -> None:
    moment = [time.time()]
    tokens = Tokens(google_as(cloud, account(cloud)), now=lambda: moment[0])

    def asked() -> int:
        return cloud.calls.count("POST /token")

    first = tokens.identity(AUDIENCE)
    moment[0] += 3200
    assert tokens.identity(AUDIENCE) == first
    assert asked() == 1
    moment[0] += 200
    tokens.identity(AUDIENCE)
    tokens.identity("https://another.run.app")
    assert asked() == 3


def test_tokens_that_were_changed_are_none(cloud: Cloud) -> None:
    token = Tokens(google_as(cloud, account(cloud))).identity(AUDIENCE) or ""
    head, body, signature = token.split(".")

    assert cloud.identities.claims(token) is not None
    assert cloud.identities.claims(f"{head}.{body}.{signature[:-8]}AAAAAAAA") is None
    assert cloud.identities.claims(f"{head}.{body}.") is None

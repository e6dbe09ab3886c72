"""Who may be signed in: a service account by its key file, a user, somebody who acts for a service account."""

from __future__ import annotations

from typing import Any

from relight.cloud.google import SCOPES, Google
from tests.cloud.fake.cloud import Cloud

ACCOUNT = "deployer@my-project.iam.gserviceaccount.com"
USER = "me@example.com"


def google_as(cloud: Cloud, credentials: Any) -> Google:
    """The project, asked with these credentials; waiting takes no time."""
    return Google(credentials, project=cloud.project, region="europe-west4", endpoint=cloud.address, sleep=cloud.slept.append)


def account(cloud: Cloud, email: str = ACCOUNT) -> Any:
    """A service account with a fresh key."""
    from google.oauth2 import service_account

    return service_account.Credentials.from_service_account_info(cloud.identities.key_file(email, cloud.address), scopes=SCOPES)


def user(cloud: Cloud, email: str = USER) -> Any:
    """A user, as `gcloud auth application-default login` leaves them."""
    from google.oauth2.credentials import Credentials

    # Made by hand: read from such a file, they are only ever refreshed at Google's own address.
    info = {name: text for name, text in cloud.identities.user(email, cloud.address).items() if name != "type"}
    return Credentials(None, scopes=SCOPES, **info)


def acting_for(source: Any, email: str) -> Any:
    """`source`, who acts for the service account `email`."""
    from google.auth.impersonated_credentials import Credentials

    return Credentials(source, target_principal=email, target_scopes=list(SCOPES))

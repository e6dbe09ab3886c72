"""Secrets at the wire: found and compared, made once, and never quoted, whatever goes wrong."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.cloud.google import Google
from relight.cloud.secrets import add_secret_version, create_secret, delete_secret, found_secrets, secrets_of
from relight.cloud.work import Silent
from relight.deploy.desired import SecretNeed
from relight.deploy.names import labels
from relight.deploy.observed import SecretState
from relight.deploy.steps import AddSecretVersion, CreateSecret
from relight.errors import CloudError, CloudLost
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Refused, served

TEXT = "sk-4f9a0c7be21d"
NAME = "smol-OPENAI_API_KEY"
NEED = SecretNeed("OPENAI_API_KEY", NAME)
DISABLED = Refused(
    403,
    "PERMISSION_DENIED",
    "Secret Manager API has not been used in project 123456789012 before or it is disabled. Enable it by visiting the console.",
)
DENIED = Refused(403, "PERMISSION_DENIED", "Permission 'secretmanager.versions.access' denied for resource.")
BUSY = Refused(503, "UNAVAILABLE", "The service is currently unavailable.")
WHY = {"reason": "", "cost": "", "undo": ""}

ACCESS = r"GET .*:access$"
ADD = r"POST .*:addVersion$"
CREATE = r"POST .*/secrets$"


@pytest.fixture(autouse=True)
def _enabled(cloud: Cloud) -> None:
    """What these tests are not about: the API is enabled."""
    cloud.usage.enable("secretmanager")


def here(text: str | None = TEXT) -> Callable[[str], str | None]:
    return {NEED.variable: text}.get


def creating() -> CreateSecret:
    return CreateSecret(name=NAME, labels=dict(labels("smol")), **WHY)


def adding(version: int = 1) -> AddSecretVersion:
    return AddSecretVersion(name=NAME, variable=NEED.variable, version=version, **WHY)


def calls(cloud: Cloud, what: str) -> int:
    return sum(what in call for call in cloud.calls)


def told(error: BaseException) -> str:
    """Everything that anybody could print about an error."""
    found, chain, seen = "".join(traceback.format_exception(error)), [error], set[int]()
    while chain:
        one = chain.pop()
        if id(one) not in seen:
            seen.add(id(one))
            found += f"{one}\n{one!r}\n{one.args!r}\n"
            chain += [other for other in (one.__cause__, one.__context__) if other is not None]
    return found


def quotes(said: str, text: str) -> bool:
    sent = base64.b64encode(text.encode(errors="surrogatepass")).decode()
    forms = (repr(text), json.dumps(text), json.dumps(text, ensure_ascii=False))
    return any(form in said for form in (text, sent, *(form[1:-1] for form in forms)))


def refused(act: Callable[[], Any], text: str = TEXT) -> CloudError:
    """The error that `act` raises, which does not quote the secret."""
    with pytest.raises(CloudError) as caught:
        act()
    assert not quotes(told(caught.value), text)
    return caught.value


# --- found -----------------------------------------------------------------------------------------------------------


def test_secret_that_nobody_made_is_not_there(google: Google) -> None:
    assert found_secrets(google, [NEED], here()) == {}


def test_secret_without_a_version_has_none(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME)

    assert found_secrets(google, [NEED], here()) == {NAME: SecretState(latest=0, matches=None)}


@pytest.mark.parametrize(("text", "matches"), [(TEXT, True), ("another", False), (TEXT + "\n", False), ("", False), (None, None)])
def test_last_version_is_compared_with_what_is_here(cloud: Cloud, google: Google, text: str | None, matches: bool | None) -> None:
    cloud.secrets.make(NAME, "old", TEXT)

    assert found_secrets(google, [NEED], here(text)) == {NAME: SecretState(latest=2, matches=matches)}


def test_secret_is_not_read_when_there_is_nothing_to_compare_it_with(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME, TEXT)

    found_secrets(google, [NEED], here(None))

    assert calls(cloud, ":access") == 0


@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
@pytest.mark.parametrize(("text", "matches"), [(TEXT, False), (None, None)])
def test_last_version_counts_though_nobody_can_read_it(
    cloud: Cloud, google: Google, state: str, text: str | None, matches: bool | None
) -> None:
    cloud.secrets.make(NAME, TEXT, TEXT)
    cloud.secrets.set_state(NAME, 2, state)

    assert found_secrets(google, [NEED], here(text)) == {NAME: SecretState(latest=2, matches=matches)}


def test_highest_version_is_found_behind_the_first_page(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME, *["old"] * 11, TEXT)

    assert found_secrets(google, [NEED], here()) == {NAME: SecretState(latest=12, matches=True)}
    assert calls(cloud, "/versions") > 2


def test_secret_that_may_not_be_read_cannot_be_compared(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME, TEXT)
    cloud.fail(ACCESS, DENIED)

    assert found_secrets(google, [NEED], here()) == {NAME: SecretState(latest=1, matches=None)}


def test_refusal_to_list_versions_is_an_error(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME, TEXT)
    cloud.fail(r"/versions$", DENIED)

    assert "could not look for the secret" in str(refused(lambda: found_secrets(google, [NEED], here())))


def test_disabled_api_has_no_secrets_and_is_not_waited_for(cloud: Cloud, google: Google) -> None:
    cloud.usage.enabled.clear()

    assert found_secrets(google, [NEED], here()) == {}
    assert secrets_of(google, "smol") == []
    assert cloud.slept == []


def test_payload_that_came_damaged_is_not_taken_for_another_text(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME, TEXT)
    cloud.secrets.damages = True

    assert "came damaged" in str(refused(lambda: found_secrets(google, [NEED], here())))


def test_bytes_of_the_environment_that_are_no_text_differ_from_every_version(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME, TEXT)

    assert found_secrets(google, [NEED], here("\udcff" + TEXT))[NAME].matches is False


@pytest.mark.parametrize("call", [r"/versions$", ACCESS])
@pytest.mark.parametrize("how", [None, BUSY])
def test_looking_is_asked_again_after_a_lost_connection(cloud: Cloud, google: Google, call: str, how: Refused | None) -> None:
    cloud.secrets.make(NAME, TEXT)
    cloud.fail(call, how, times=2)

    assert found_secrets(google, [NEED], here()) == {NAME: SecretState(latest=1, matches=True)}


@pytest.mark.parametrize("call", [r"/versions$", ACCESS])
def test_looking_ends_when_the_connection_stays_lost(cloud: Cloud, google: Google, call: str) -> None:
    cloud.secrets.make(NAME, TEXT)
    cloud.fail(call, times=99)

    assert isinstance(refused(lambda: found_secrets(google, [NEED], here())), CloudLost)


# --- made ------------------------------------------------------------------------------------------------------------


def test_secret_is_made_with_our_labels_and_no_version(cloud: Cloud, google: Google) -> None:
    create_secret(google, creating())

    made = cloud.secrets.held[NAME]
    assert dict(made.secret.labels) == labels("smol")
    assert "automatic" in made.secret.replication
    assert made.versions == []


def test_secret_that_is_there_is_used_as_it_is(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME, TEXT, labels={"owner": "somebody"})

    create_secret(google, creating())

    assert dict(cloud.secrets.held[NAME].secret.labels) == {"owner": "somebody"}
    assert cloud.secrets.text(NAME) == TEXT


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("how", [None, BUSY])
def test_secret_is_made_once_though_the_connection_broke(cloud: Cloud, google: Google, after: bool, how: Refused | None) -> None:
    cloud.fail(CREATE, how, after=after)

    create_secret(google, creating())

    assert list(cloud.secrets.held) == [NAME]
    assert calls(cloud, "POST") == 2


def test_secret_is_made_when_the_api_that_was_enabled_a_moment_ago_is_there(cloud: Cloud, google: Google) -> None:
    cloud.fail(CREATE, DISABLED, times=3)

    create_secret(google, creating())

    assert NAME in cloud.secrets.held
    assert len(cloud.slept) == 3


def test_secret_is_kept_in_our_region_where_the_organisation_wants_to_know_where(cloud: Cloud, google: Google) -> None:
    cloud.secrets.locations = {"europe-west4"}

    create_secret(google, creating())

    made = cloud.secrets.held[NAME].secret
    assert [replica.location for replica in made.replication.user_managed.replicas] == ["europe-west4"]
    assert dict(made.labels) == labels("smol")


def test_secret_that_may_be_kept_in_no_place_of_ours_is_refused(cloud: Cloud, google: Google) -> None:
    cloud.secrets.locations = {"us-central1"}

    assert "gcp.resourceLocations" in str(refused(lambda: create_secret(google, creating())))
    assert calls(cloud, "POST") == 2


def test_refusal_to_make_a_secret_says_what_was_done(cloud: Cloud, google: Google) -> None:
    cloud.fail(CREATE, Refused(403, "PERMISSION_DENIED", "Permission 'secretmanager.secrets.create' denied."))

    error = refused(lambda: create_secret(google, creating()))

    assert f"could not make the secret {NAME}: Permission 'secretmanager.secrets.create' denied." in str(error)


# --- versions --------------------------------------------------------------------------------------------------------


def test_text_becomes_the_version_that_was_planned(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME, "old")

    add_secret_version(google, adding(2), TEXT, Silent())

    assert cloud.secrets.text(NAME, 2) == TEXT
    assert found_secrets(google, [NEED], here()) == {NAME: SecretState(latest=2, matches=True)}


@pytest.mark.parametrize("text", ["clé 🔑 秘密", "two\nlines\n", " ", "x" * 65536])
def test_text_comes_back_as_it_was(cloud: Cloud, google: Google, text: str) -> None:
    cloud.secrets.make(NAME)

    add_secret_version(google, adding(), text, Silent())

    assert cloud.secrets.text(NAME) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "OPENAI_API_KEY is not set here"),
        ("", "OPENAI_API_KEY is empty"),
        ("é" * 32769, "should have at most 65536 bytes, got 65538"),
        ("\udcff" + TEXT, "OPENAI_API_KEY is not UTF-8"),
    ],
)
def test_text_that_no_secret_can_hold_is_not_sent(cloud: Cloud, google: Google, text: str | None, says: str) -> None:
    cloud.secrets.make(NAME)

    error = refused(lambda: add_secret_version(google, adding(), text, Silent()), text or TEXT)

    assert says in str(error)
    assert cloud.calls == []


def test_variable_that_is_not_here_can_be_set_in_two_places(google: Google) -> None:
    error = refused(lambda: add_secret_version(google, adding(), None, Silent()))

    assert error.hint == "set OPENAI_API_KEY in the environment or in .env, and run it again"


@pytest.mark.parametrize("after", [False, True])
def test_version_is_never_sent_twice_when_the_connection_broke(cloud: Cloud, google: Google, after: bool) -> None:
    cloud.secrets.make(NAME)
    cloud.fail(ADD, after=after)

    error = refused(lambda: add_secret_version(google, adding(), TEXT, Silent()))

    assert isinstance(error, CloudLost)
    assert calls(cloud, ":addVersion") == 1
    # Whoever looks again sees whether it took place.
    expected = SecretState(latest=1, matches=True) if after else SecretState()
    assert found_secrets(google, [NEED], here()) == {NAME: expected}


@pytest.mark.parametrize("after", [False, True])
def test_version_is_never_sent_twice_when_the_server_failed(cloud: Cloud, google: Google, after: bool) -> None:
    cloud.secrets.make(NAME)
    cloud.fail(ADD, BUSY, after=after)

    refused(lambda: add_secret_version(google, adding(), TEXT, Silent()))

    assert calls(cloud, ":addVersion") == 1


def test_version_is_sent_again_after_a_refusal_for_too_many_requests(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME)
    cloud.fail(ADD, Refused(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric."), times=2)

    add_secret_version(google, adding(), TEXT, Silent())

    assert len(cloud.secrets.held[NAME].versions) == 1


def test_version_with_another_number_than_planned_means_to_look_anew(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME, "of somebody else")

    error = refused(lambda: add_secret_version(google, adding(1), TEXT, Silent()))

    assert isinstance(error, CloudLost)
    assert "got version 2, not 1" in str(error)


def test_version_of_a_secret_that_is_gone_is_refused(google: Google) -> None:
    assert "not found" in str(refused(lambda: add_secret_version(google, adding(), TEXT, Silent())))


def test_payload_is_sent_with_its_checksum(cloud: Cloud, google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.secrets.make(NAME)
    monkeypatch.setattr("relight.cloud.secrets._sum", lambda data: 1)

    error = refused(lambda: add_secret_version(google, adding(), TEXT, Silent()))

    assert "does not match its checksum" in str(error)
    assert cloud.secrets.held[NAME].versions == []


# --- never quoted ----------------------------------------------------------------------------------------------------


def test_words_of_google_that_quote_the_secret_are_left_out(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME)
    cloud.fail(ADD, Refused(400, "INVALID_ARGUMENT", f'Invalid value at payload: "{base64.b64encode(TEXT.encode()).decode()}"'))

    error = refused(lambda: add_secret_version(google, adding(), TEXT, Silent()))

    assert "refused with 400" in str(error)


def test_property_no_fault_makes_an_error_quote_the_secret() -> None:
    cloud = Cloud()
    cloud.usage.enable("secretmanager")
    words = st.sampled_from(["no.", "the {text} is bad", "bad {sent}", "{text!r}", '{{"data": {json}}}', "not {raw}"])
    codes = st.sampled_from([400, 401, 403, 404, 409, 412, 413, 429, 500, 503, 504, None])
    texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=40).map(lambda text: f"s3cr3t{text}")

    with served(cloud) as address:
        google = Google(
            AnonymousCredentials(), project=cloud.project, region="europe-west4", endpoint=address, sleep=cloud.slept.append
        )

        @settings(max_examples=40, deadline=None)
        @given(text=texts, word=words, code=codes, after=st.booleans(), version=st.integers(1, 2))
        def holds(text: str, word: str, code: int | None, after: bool, version: int) -> None:
            cloud.faults.clear()
            cloud.secrets.make(NAME)
            sent = base64.b64encode(text.encode(errors="surrogatepass")).decode()
            how = (
                None
                if code is None
                else Refused(
                    code,
                    "UNKNOWN",
                    word.format(text=text, sent=sent, json=json.dumps(text), raw=json.dumps(text, ensure_ascii=False)),
                )
            )
            cloud.fail(ADD, how, after=after, times=99)
            refused(lambda: add_secret_version(google, adding(version), text, Silent()), text)

        holds()


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """Everything that Google's clients write down when somebody asks for all of it."""
    found: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    logger, handler = logging.getLogger("google"), Keeping()
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_log_of_the_clients_has_no_payload(google: Google, logged: list[logging.LogRecord]) -> None:
    create_secret(google, creating())
    add_secret_version(google, adding(), TEXT, Silent())
    assert found_secrets(google, [NEED], here())[NAME].matches

    said = "\n".join(f"{record.getMessage()} {vars(record)}" for record in logged)
    assert NAME in said, "the clients write nothing, so this test shows nothing"
    assert not quotes(said, TEXT)


# --- removed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filters", [True, False])
def test_only_secrets_with_our_labels_are_ours(cloud: Cloud, google: Google, filters: bool) -> None:
    cloud.secrets.filters = filters
    for name in ("smol-A", "smol-B", "smol-C", "smol-D"):
        cloud.secrets.make(name, TEXT, labels=dict(labels("smol")))
    cloud.secrets.make("smol-theirs", TEXT)
    cloud.secrets.make("other-A", TEXT, labels=dict(labels("other")))
    cloud.secrets.make("smol-half", TEXT, labels={"relight-service": "smol"})

    assert secrets_of(google, "smol") == ["smol-A", "smol-B", "smol-C", "smol-D"]


@pytest.mark.parametrize("after", [False, True])
def test_secret_is_deleted_though_the_connection_broke(cloud: Cloud, google: Google, after: bool) -> None:
    cloud.secrets.make(NAME, TEXT)
    cloud.fail("DELETE", after=after)

    delete_secret(google, NAME)

    assert cloud.secrets.held == {}


def test_refusal_to_delete_is_an_error(cloud: Cloud, google: Google) -> None:
    cloud.secrets.make(NAME, TEXT)
    cloud.fail("DELETE", Refused(403, "PERMISSION_DENIED", "no"))

    assert "could not delete the secret" in str(refused(lambda: delete_secret(google, NAME)))

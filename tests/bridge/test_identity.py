"""Identity tokens on their way through the bridge: whose, for whom, how long; and who is told what when they are not taken."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from relight.bridge.identity import Identity, read
from relight.cli.identity import Gcloud, Googles, acting_for, audience_of
from relight.clock import ManualClock
from relight.errors import CloudError
from tests.bridge.bridging import CHAT, MESSAGES, request_body, spanned
from tests.bridge.platform import AUDIENCE, Platform, page, says
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Refused, served
from tests.cloud.people import ACCOUNT, USER, account, google_as, user

RUNNER = "runner@my-project.iam.gserviceaccount.com"
KEY = "Bearer rl_a-key-of-the-services-own"
HEADER = "x-serverless-authorization"
ASKED: Any = request_body(CHAT, "hello", stream=False)


class Today(ManualClock):
    """A clock turned by hand that shows the wall's time, for tokens are signed with that."""

    def wall(self) -> float:
        return time.time() + self.now() - 1_000.0


class Counted:
    """Tokens of an account's, counted; `stale` are given before them."""

    def __init__(self, tokens: Any, stale: tuple[str, ...] = ()) -> None:
        self._tokens, self._stale = tokens, list(stale)
        self.minted = 0

    def mint(self) -> str | None:
        self.minted += 1
        if self._stale:
            return self._stale.pop(0)
        found: str | None = self._tokens.mint()
        return found


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    found = Cloud()
    with served(found) as address:
        found.address = address
        yield found


@pytest.fixture
async def platform(cloud: Cloud) -> AsyncIterator[Platform]:
    async with Platform(cloud.identities, {ACCOUNT, USER, RUNNER}, answers=[says(200, b"{}")]).running() as found:
        yield found


def of_account(cloud: Cloud) -> Googles:
    return Googles(AUDIENCE, google=google_as(cloud, account(cloud)))


def forged(**claims: Any) -> str:
    """What looks like a token, and is signed by nobody."""
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{middle}.c2ln"


def error_of(heard: Any) -> dict[str, Any]:
    found: dict[str, Any] = heard.json()["error"]
    return found


# --- where tokens come from


async def lets_in(platform: Platform, tokens: Any, who: str) -> None:
    """The platform takes this token for that of `who`, and the agent's own key reaches the container."""
    async with spanned(platform, tokens) as span:
        heard = await span.client.ask(CHAT, ASKED, authorization=KEY)
        assert heard.status == 200, heard.body
        assert span.bridge.state.account == who

    (seen,) = platform.asked(CHAT)
    assert seen.headers["authorization"] == KEY
    assert seen.headers["x-serverless-authorization"].endswith(".SIGNATURE_REMOVED_BY_GOOGLE")


async def test_service_account_is_let_in(cloud: Cloud, platform: Platform) -> None:
    await lets_in(platform, of_account(cloud), ACCOUNT)


async def test_user_is_let_in(cloud: Cloud, platform: Platform) -> None:
    await lets_in(platform, Googles(AUDIENCE, google=google_as(cloud, user(cloud))), USER)


async def test_who_acts_for_an_account_is_let_in_as_that(
    cloud: Cloud, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library knows one address for this, and takes no other.
    place = f"{cloud.address}/v1/projects/-/serviceAccounts/{{}}:generateIdToken"
    monkeypatch.setattr("google.auth.iam._IAM_IDTOKEN_ENDPOINT", place)
    cloud.identities.impersonators[RUNNER] = {ACCOUNT}

    await lets_in(platform, Googles(AUDIENCE, google=acting_for(google_as(cloud, account(cloud)), RUNNER)), RUNNER)


@pytest.mark.real
async def test_machine_of_googles_is_let_in_by_its_metadata_server(cloud: Cloud, platform: Platform, tmp_path: Path) -> None:
    cloud.identities.here = RUNNER
    host = cloud.address.removeprefix("http://")
    script = f"from relight.cli.identity import Googles; print(Googles({AUDIENCE!r}).mint())"
    # The library reads these when it is imported, hence another process.
    env = {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, "CLOUDSDK_CONFIG": str(tmp_path), "PATH": "/usr/bin:/bin"}
    argv = [sys.executable, "-c", script]
    done = await asyncio.to_thread(subprocess.run, argv, env=env, capture_output=True, text=True, timeout=60, check=False)

    await lets_in(platform, Counted(None, (done.stdout.strip(),)), RUNNER)


GCLOUD = """#!{python}
import sys
if {fails!r}:
    sys.exit("WARNING: nothing\\nERROR: (gcloud) You do not currently have an active account selected.\\n")
with open({said!r}, "a") as file:
    print(*sys.argv[1:], file=file)
print({token!r})
"""


@pytest.fixture
def gcloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a gcloud on the PATH that gives this token; returns the file with how it was called."""

    def put(token: str = "", *, fails: bool = False) -> Path:
        file, said = tmp_path / "bin" / "gcloud", tmp_path / "said"
        file.parent.mkdir()
        file.write_text(GCLOUD.format(python=sys.executable, fails=fails, said=str(said), token=token))
        file.chmod(0o755)
        monkeypatch.setenv("PATH", str(file.parent))
        return said

    return put


async def test_user_of_gcloud_is_let_in_where_nobody_is_signed_in_for_libraries(
    cloud: Cloud, platform: Platform, gcloud: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = gcloud(cloud.identities._identity(USER, "the-client.apps.googleusercontent.com"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")

    await lets_in(platform, Googles(AUDIENCE), USER)
    assert said.read_text() == "auth print-identity-token --quiet\n"


async def test_gcloud_acts_for_an_account(cloud: Cloud, platform: Platform, gcloud: Any) -> None:
    said = gcloud(cloud.identities._identity(RUNNER, AUDIENCE))

    await lets_in(platform, Gcloud(AUDIENCE, RUNNER), RUNNER)
    assert said.read_text().split()[-3:] == [
        f"--impersonate-service-account={RUNNER}",
        f"--audiences={AUDIENCE}",
        "--include-email",
    ]


async def test_user_who_is_not_to_be_known_is_asked_of_gcloud(cloud: Cloud, platform: Platform, gcloud: Any) -> None:
    cloud.identities.opaque = True
    gcloud(cloud.identities._identity(USER, "the-client.apps.googleusercontent.com"))

    await lets_in(platform, Googles(AUDIENCE, google=google_as(cloud, user(cloud))), USER)


def test_what_gcloud_says_is_told_with_what_to_do(gcloud: Any) -> None:
    gcloud(fails=True)

    with pytest.raises(CloudError, match="do not currently have an active account") as told:
        Gcloud(AUDIENCE).mint()
    assert "gcloud auth login" in (told.value.hint or "")


def test_machine_without_gcloud_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(CloudError, match="there is no gcloud on the PATH"):
        Gcloud(AUDIENCE).mint()


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        ("https://probe-123456789012.europe-west4.run.app", AUDIENCE),
        ("https://candidate---probe-123456789012.europe-west4.run.app", AUDIENCE),
        ("https://probe-abc-ew.a.run.app/", "https://probe-abc-ew.a.run.app"),
        ("https://example.com", None),
        ("https://run.app.example.com", None),
        ("https://evilrun.app", None),
        ("http://127.0.0.1:8080", None),
    ],
)
def test_only_services_of_googles_are_shown_a_token(url: str, audience: str | None) -> None:
    assert audience_of(url) == audience


# --- who is shown one


async def test_service_is_asked_first_whether_it_wants_one_without_a_name_a_key_or_a_word(
    cloud: Cloud, platform: Platform
) -> None:
    async with spanned(platform, of_account(cloud)) as span:
        await asyncio.gather(*(span.client.ask(CHAT, ASKED, authorization=KEY) for _ in range(5)))

    (looked,) = platform.asked("/")
    assert platform.seen[0] is looked
    assert (looked.method, looked.body, looked.status) == ("HEAD", b"", 403)
    assert not {"authorization", "x-api-key", HEADER} & set(looked.headers)


async def test_whose_identity_goes_to_whom_is_told_once(cloud: Cloud, platform: Platform) -> None:
    async with spanned(platform, of_account(cloud)) as span:
        for _ in range(3):
            await span.client.ask(CHAT, ASKED)
        (told,) = [facts for event, facts in span.told.events if event == "identity"]

    assert (told["shown"], told["to"], told["account"], told["audience"]) == (True, platform.address, ACCOUNT, AUDIENCE)
    assert told["kind"] == f"a service account's, for {AUDIENCE} alone"


async def test_users_identity_is_said_to_be_good_for_more(cloud: Cloud, platform: Platform) -> None:
    async with spanned(platform, Googles(AUDIENCE, google=google_as(cloud, user(cloud)))) as span:
        await span.client.ask(CHAT, ASKED)
        (told,) = [facts for event, facts in span.told.events if event == "identity"]

    assert (told["account"], told["kind"]) == (USER, "a user's, good for every service that lets them in")


async def test_service_that_lets_anybody_in_is_shown_none_and_that_is_told(cloud: Cloud) -> None:
    tokens = Counted(of_account(cloud))
    async with Platform(answers=[says(404, b"{}"), says(200, b"{}")]).running() as platform, spanned(platform, tokens) as span:
        heard = [await span.client.ask(CHAT, ASKED, authorization=KEY) for _ in range(2)]
        (told,) = [facts for event, facts in span.told.events if event == "identity"]

    assert [one.status for one in heard] == [200, 200]
    assert (told["shown"], tokens.minted) == (False, 0)
    assert "lets anybody in" in str(told["message"])
    assert not [one for one in platform.seen if HEADER in one.headers]
    assert platform.asked(CHAT)[0].headers["authorization"] == KEY


async def test_service_that_begins_to_ask_is_shown_one_from_then_on(cloud: Cloud, platform: Platform) -> None:
    identities, platform.identities = platform.identities, None
    async with spanned(platform, of_account(cloud)) as span:
        assert (await span.client.ask(CHAT, ASKED)).status == 200
        platform.identities = identities
        assert [(await span.client.ask(CHAT, ASKED)).status for _ in range(2)] == [200, 200]

    assert [HEADER in one.headers for one in platform.asked(CHAT)] == [False, False, True, True]
    assert [facts["shown"] for event, facts in span.told.events if event == "identity"] == [False, True]


async def test_service_that_refuses_whoever_comes_is_not_shown_one_from_then_on(cloud: Cloud) -> None:
    async def refuse(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return page(403, "Forbidden", "Not here.")

    answers = [says(404, b"{}"), refuse, refuse, says(200, b"{}")]
    async with Platform(answers=answers).running() as platform, spanned(platform, of_account(cloud)) as span:
        assert [(await span.client.ask(CHAT, ASKED)).status for _ in range(2)] == [403, 200]

    assert [HEADER in one.headers for one in platform.asked(CHAT)] == [False, True, False]


async def test_service_that_does_not_tell_is_shown_one(cloud: Cloud) -> None:
    """A platform without an instance, or one that is broken, says nothing of who may come."""
    async with (
        Platform(answers=[says(500, b"{}"), says(200, b"{}")]).running() as platform,
        spanned(platform, of_account(cloud)) as span,
    ):
        assert (await span.client.ask(CHAT, ASKED)).status == 200

    assert HEADER in platform.asked(CHAT)[0].headers


# --- how long they are good


async def test_many_requests_at_once_have_one_token_made(cloud: Cloud, platform: Platform) -> None:
    tokens = Counted(of_account(cloud))
    async with spanned(platform, tokens) as span:
        heard = await asyncio.gather(*(span.client.ask(CHAT, ASKED) for _ in range(20)))

    assert {one.status for one in heard} == {200}
    assert tokens.minted == 1


async def test_token_is_renewed_before_it_ends(cloud: Cloud, platform: Platform) -> None:
    clock, tokens = Today(), Counted(of_account(cloud))
    async with spanned(platform, tokens, clock=clock) as span:
        await span.client.ask(CHAT, ASKED)
        await clock.advance(3200)
        await span.client.ask(CHAT, ASKED)
        assert tokens.minted == 1
        await clock.advance(200)
        await span.client.ask(CHAT, ASKED)
    assert tokens.minted == 2


async def test_token_that_is_not_taken_is_renewed_once_for_all(cloud: Cloud, platform: Platform) -> None:
    tokens = Counted(of_account(cloud), (forged(exp=time.time() + 3600, email=ACCOUNT, aud=AUDIENCE),))
    async with spanned(platform, tokens) as span:
        heard = await asyncio.gather(*(span.client.ask(CHAT, ASKED) for _ in range(5)))

    assert {one.status for one in heard} == {200}
    assert tokens.minted == 2


async def test_client_that_leaves_does_not_take_the_token_from_others() -> None:
    import threading

    go = threading.Event()

    class Slow:
        def mint(self) -> str | None:
            go.wait(20)
            return forged(exp=time.time() + 3600)

    identity = Identity(Slow(), ManualClock())
    leaves, stays = asyncio.create_task(identity.current()), asyncio.create_task(identity.current())
    await asyncio.sleep(0)
    leaves.cancel()
    go.set()

    assert await stays is not None


async def test_failure_is_not_asked_about_again_at_once() -> None:
    clock, tokens = ManualClock(), Counted(None)
    tokens._tokens = type("Refuses", (), {"mint": lambda _self: (_ for _ in ()).throw(CloudError("cloud: no"))})()
    identity = Identity(tokens, clock)

    assert await identity.current() is None
    assert await identity.current() is None
    assert (tokens.minted, identity.problem is not None) == (1, True)
    await clock.advance(11)
    assert await identity.current() is None
    assert tokens.minted == 2


@pytest.mark.parametrize(
    "text", ["", "opaque", "a.b.c", "e30.!!.x", "e30.W10.x", f"e30.{base64.urlsafe_b64encode(b'no').decode()}.x"]
)
def test_token_that_says_nothing_is_used_and_not_kept(text: str) -> None:
    token = read(text)
    assert (token.text, token.account, token.ends_at) == (text, None, 0.0)


def test_token_is_not_seen_where_it_is_printed() -> None:
    text = forged(email=USER, exp=1)
    assert text not in repr(read(text))


# --- who is told what


async def test_who_may_not_call_it_is_told_by_name_and_with_the_role(cloud: Cloud, platform: Platform) -> None:
    platform.invokers = set()
    tokens = Counted(of_account(cloud))
    async with spanned(platform, tokens) as span:
        heard = await span.client.ask(CHAT, ASKED, authorization=KEY)

    assert (heard.status, error_of(heard)["type"], error_of(heard)["source"]) == (403, "permission_error", "relight")
    assert ACCOUNT in error_of(heard)["message"]
    assert "not the API key" in error_of(heard)["message"]
    assert f"--member=serviceAccount:{ACCOUNT} --role=roles/run.invoker" in error_of(heard)["hint"]
    assert (tokens.minted, len(platform.asked(CHAT))) == (2, 2)


async def test_refused_identity_wears_the_shape_of_the_dialect(cloud: Cloud, platform: Platform) -> None:
    platform.audience = "https://another.run.app"
    async with spanned(platform, of_account(cloud)) as span:
        heard = await span.client.ask(MESSAGES, request_body(MESSAGES, "hello", stream=False))

    assert (heard.status, heard.json()["type"], error_of(heard)["type"]) == (401, "error", "authentication_error")
    assert "--audience" in error_of(heard)["hint"]


async def test_nobody_signed_in_is_told_with_what_to_do(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with spanned(platform, Gcloud(AUDIENCE)) as span:
        heard = await span.client.ask(CHAT, ASKED)

    assert heard.status == 403
    assert "wants to know who asks, and there is no identity" in error_of(heard)["message"]
    assert "gcloud auth login" in error_of(heard)["hint"]


async def test_service_that_asks_nobody_is_reached_although_nobody_is_signed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with Platform(answers=[says(200, b"{}")]).running() as platform, spanned(platform, Gcloud(AUDIENCE)) as span:
        assert (await span.client.ask(CHAT, ASKED)).status == 200
        assert not [one for one in platform.seen if HEADER in one.headers]


async def test_busy_token_endpoint_is_asked_again(cloud: Cloud, platform: Platform) -> None:
    tokens = of_account(cloud)
    cloud.fail("POST /token", Refused(503, "UNAVAILABLE", "try again"), times=1)

    await lets_in(platform, tokens, ACCOUNT)


async def test_key_that_the_service_does_not_know_is_the_services_own_refusal(cloud: Cloud, platform: Platform) -> None:
    said = b'{"error":{"message":"request: its key is not known here","code":"unauthorized"}}'
    platform.answers = [says(401, said, x_relight_interaction="int_1")]
    async with spanned(platform, tokens := Counted(of_account(cloud))) as span:
        heard = await span.client.ask(CHAT, ASKED, authorization=KEY)

    assert (heard.status, heard.body, tokens.minted, len(platform.asked(CHAT))) == (401, said, 1, 1)


async def test_token_of_the_clients_own_is_not_shown_beside_ours(cloud: Cloud, platform: Platform) -> None:
    async with spanned(platform, of_account(cloud)) as span:
        assert (await span.client.ask(CHAT, ASKED, x_serverless_authorization="Bearer mine")).status == 200


async def test_two_services_get_each_their_own_token(cloud: Cloud) -> None:
    other = "https://other-123456789012.europe-west4.run.app"
    google = google_as(cloud, account(cloud))
    async with (
        Platform(cloud.identities, {ACCOUNT}, answers=[says(200, b"1")]).running() as one,
        Platform(cloud.identities, {ACCOUNT}, audience=other, answers=[says(200, b"2")]).running() as two,
        spanned(one, Googles(AUDIENCE, google=google)) as first,
        spanned(two, Googles(other, google=google)) as second,
    ):
        heard = await asyncio.gather(*(span.client.ask(CHAT, ASKED) for span in (first, second, first, second)))

    assert [one.body for one in heard] == [b"1", b"2", b"1", b"2"]


async def test_nothing_that_is_told_holds_a_token_or_a_body(cloud: Cloud, platform: Platform) -> None:
    platform.invokers = set()
    async with spanned(platform, of_account(cloud)) as span:
        await span.client.ask(CHAT, request_body(CHAT, "a very private word"), authorization=KEY)
        token = platform.asked(CHAT)[0].headers[HEADER].removeprefix("Bearer ")
        told = repr(span.told.events) + span.bridge.state.line(0, 0)

    assert span.told.events
    assert not [secret for secret in (token, token.split(".")[1], KEY.split()[1], "private") if secret in told]

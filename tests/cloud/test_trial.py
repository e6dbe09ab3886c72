"""A deployed service is asked as its users ask it: through a fake of Google's front, to a stand-in or a real front door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from relight.access.keys import create
from relight.cloud.google import Google
from relight.cloud.trial import Asked, Trial, Tried, trial, wanted
from relight.cloud.work import Show, Silent
from relight.config.assistant import Assistant
from relight.config.deploy import CloudRun, Deploy, Ingress
from relight.config.schema import Config, Model, Server, Service, Task
from relight.errors import CloudError, ExitCode
from relight.values import Duration
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.front import BUSY, FORBIDDEN, NOT_FOUND, UNAVAILABLE
from tests.cloud.fake.server import Reply
from tests.cloud.people import ACCOUNT, USER, account, google_as, user
from tests.cloud.scene import Told
from tests.deploy.worlds import CLOUD, KEYS, SMOL
from tests.serve.process import serve

SERVICE = "portfolio"
GUARDED = Trial(
    path="/v1/chat/completions",
    body={"model": "smol", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8},
    guarded=True,
    has_keys=False,
    asks_key=False,
    timeout_s=30.0,
)
WITH_KEYS = replace(GUARDED, guarded=False, has_keys=True, asks_key=True)
VISITED = replace(WITH_KEYS, path="/chat", body={"message": "Say hello."}, asks_key=False)
pytestmark = pytest.mark.usefixtures("address")


def tried(
    cloud: Cloud, wants: Trial, google: Google | None = None, *, tag: str = "", show: Show | None = None, tick_s: float = 0.5
) -> Tried:
    """What came of a trial; every reading of the clock is `tick_s` after the last."""
    root, ticks = f"{cloud.address}/serving/{SERVICE}", iter(range(1000))
    found = google or google_as(cloud, account(cloud))
    return trial(found, f"{root}/{tag}", root, wants=wants, show=show or Silent(), clock=lambda: next(ticks) * tick_s)


def refused(cloud: Cloud, wants: Trial, google: Google | None = None) -> CloudError:
    with pytest.raises(CloudError) as told:
        tried(cloud, wants, google)
    assert told.value.exit_code == ExitCode.CLOUD
    return told.value


def asked(cloud: Cloud) -> list[tuple[str, bool, bool]]:
    """What reached Google's front: the path, and whether each header was there that names somebody."""
    names = ("authorization", "x-serverless-authorization")
    return [(one.path.partition(SERVICE)[2], *(name in one.headers for name in names)) for one in cloud.front.requests]  # type: ignore[misc]


@pytest.fixture
def guarded(cloud: Cloud) -> Cloud:
    """A service that only the deployer, and a user, may call."""
    cloud.front.invokers[SERVICE] = {f"serviceAccount:{ACCOUNT}", f"user:{USER}"}
    return cloud


@pytest.fixture
def opened(cloud: Cloud) -> Cloud:
    """A service that Google lets everybody reach, and whose front door asks for keys."""
    cloud.front.invokers[SERVICE] = None
    cloud.front.keys = {"rl_right"}
    return cloud


# --- what is asked


def test_guarded_service_is_ready_answers_and_refuses_strangers(guarded: Cloud) -> None:
    assert tried(guarded, GUARDED) == Tried(
        asked=(
            Asked("GET /readyz", 200, 0.5),
            Asked("POST /v1/chat/completions", 200, 0.5),
            Asked("GET /readyz without an identity token", 403, 0.5),
        ),
        answered=True,
        model="smol",
        tokens=3,
        wake_ms=812.0,
    )
    assert asked(guarded) == [
        ("/readyz", True, False),
        ("/v1/chat/completions", True, False),
        ("/readyz", False, False),
    ]


def test_users_own_token_is_taken(guarded: Cloud) -> None:
    assert tried(guarded, GUARDED, google_as(guarded, user(guarded))).answered


def test_tagged_revision_is_asked_with_the_token_of_the_service(guarded: Cloud) -> None:
    assert tried(guarded, GUARDED, tag="candidate").answered
    assert asked(guarded)[0][0] == "/candidate/readyz"


def test_key_goes_beside_the_identity_token(guarded: Cloud) -> None:
    guarded.front.keys = {"rl_right"}

    found = tried(guarded, replace(WITH_KEYS, guarded=True, key="rl_right"))

    assert found.answered
    assert asked(guarded) == [
        ("/readyz", False, True),
        ("/v1/chat/completions", True, True),
        ("/v1/chat/completions", False, True),
        ("/readyz", False, False),
    ]


def test_service_with_keys_is_asked_with_one(opened: Cloud) -> None:
    found = tried(opened, replace(WITH_KEYS, key="rl_right"))

    assert found.answered
    assert [(one.what, one.status) for one in found.asked] == [
        ("GET /readyz", 200),
        ("POST /v1/chat/completions", 200),
        ("POST /v1/chat/completions", 401),
    ]


def test_without_a_key_here_the_front_door_has_to_refuse(opened: Cloud) -> None:
    found = tried(opened, WITH_KEYS)

    assert not found.answered
    assert found.asked[1] == Asked("POST /v1/chat/completions", 401, 0.5)
    assert "set RELIGHT_KEY" in (found.note or "")


def test_without_a_key_here_a_public_assistant_is_asked(opened: Cloud) -> None:
    opened.front.visitors = True

    found = tried(opened, VISITED)

    assert found.answered
    assert found.asked[1].what == "POST /chat"


def test_service_of_another_network_is_not_asked(cloud: Cloud) -> None:
    found = tried(cloud, replace(GUARDED, is_reachable=False))

    assert found.asked == ()
    assert "deploy.cloudrun.ingress" in (found.note or "")
    assert cloud.calls == []


def test_token_is_sent_over_https_only(cloud: Cloud, google: Google) -> None:
    with pytest.raises(CloudError, match="should begin with https://"):
        trial(google, "http://portfolio.run.app", "https://portfolio.run.app", wants=GUARDED, show=Silent())


def test_netrc_does_not_take_the_place_of_the_token(guarded: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    assert tried(guarded, GUARDED).answered


# --- what passes by itself


@pytest.mark.parametrize("reply", [NOT_FOUND, FORBIDDEN, UNAVAILABLE, BUSY], ids=lambda reply: str(reply.status))
def test_what_has_not_spread_yet_is_waited_for(guarded: Cloud, reply: Reply) -> None:
    guarded.front.before = [reply] * 3

    show = Told()
    assert tried(guarded, GUARDED, show=show).answered
    assert guarded.slept == [2.0, 4.0, 8.0]
    asking, *waits = show.told[:4]
    assert asking == "asking GET /readyz"
    (wait,) = set(waits)
    assert wait.startswith(f"asking GET /readyz: {reply.status} so far; ")
    assert wait.endswith("may take a minute or two to be known") or reply.status in {429, 503}


def test_lost_connection_is_asked_again(guarded: Cloud) -> None:
    guarded.fail("GET /serving/", times=2)
    show = Told()

    assert tried(guarded, GUARDED, show=show).answered
    assert guarded.slept == [2.0, 4.0]
    assert "asking GET /readyz: it cannot be reached so far" in show.told


def test_wait_ends_after_two_minutes_with_googles_words(guarded: Cloud) -> None:
    guarded.front.invokers[SERVICE] = {"user:somebody@example.com"}

    error = refused(guarded, GUARDED)

    assert sum(guarded.slept) == 119.0
    assert error.message == "cloud: GET /readyz: answered 403: Forbidden"
    assert "name whoever deploys in deploy.cloudrun.invokers" in (error.hint or "")


def test_address_that_stays_unknown_is_told(cloud: Cloud) -> None:
    error = refused(cloud, GUARDED)

    assert "answered 404" in error.message
    assert "deploy.cloudrun.ingress" in (error.hint or "")


def test_token_for_another_service_is_refused(guarded: Cloud) -> None:
    google, root = google_as(guarded, account(guarded)), f"{guarded.address}/serving/{SERVICE}"

    with pytest.raises(CloudError, match="answered 401"):
        trial(google, root, f"{guarded.address}/serving/another", wants=GUARDED, show=Silent())


# --- what does not


def test_service_that_is_open_is_an_error(guarded: Cloud) -> None:
    guarded.front.invokers[SERVICE] = None

    error = refused(guarded, GUARDED)

    assert "without an identity token: answered 200, and should be refused: the service is open to everybody" in error.message
    assert sum(guarded.slept) == 119.0


def test_wrong_key_is_the_front_doors_word_and_not_waited_for(opened: Cloud) -> None:
    error = refused(opened, replace(WITH_KEYS, key="rl_wrong"))

    assert error.message == "cloud: POST /v1/chat/completions: answered 401: request: its key is not known here"
    assert opened.slept == []


def test_front_door_that_answers_without_a_key_is_an_error(opened: Cloud) -> None:
    opened.front.keys = set()

    assert "POST /v1/chat/completions: answered 200" in refused(opened, WITH_KEYS).message


def test_what_is_no_front_door_of_ours_is_told(guarded: Cloud) -> None:
    guarded.front.before = [Reply(b"<title>Congratulations</title>", 200, {"content-type": "text/html"})]

    assert refused(guarded, GUARDED).message == "cloud: GET /readyz: answered 200: Congratulations"


def test_error_of_the_engine_is_told_with_its_hint(guarded: Cloud) -> None:
    told = b'{"error": {"message": "engine: exited with code 1", "hint": "look at the log"}}'
    guarded.front.before = [Reply(b"ready\n"), Reply(told, 502, {"x-relight-interaction": "int_1"})]

    error = refused(guarded, GUARDED)

    assert str(error) == "cloud: POST /v1/chat/completions: answered 502: engine: exited with code 1; look at the log"


def test_answer_without_a_token_is_none(guarded: Cloud) -> None:
    empty = b'{"choices": [], "usage": {"completion_tokens": 0}}'
    guarded.front.before = [Reply(b"ready\n"), Reply(empty, 200, {"x-relight-interaction": "int_1"})]

    assert "POST /v1/chat/completions: answered 200" in refused(guarded, GUARDED).message


def test_nobody_signed_in_is_told(guarded: Cloud, google: Google) -> None:
    assert "has no identity token" in refused(guarded, GUARDED, google).message


def test_answer_that_takes_too_long_is_told(guarded: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def late(*args: Any, **kwargs: Any) -> Any:
        assert kwargs["timeout"] == (10.0, 40.0)
        raise requests.exceptions.ReadTimeout

    monkeypatch.setattr(requests, "request", late)

    assert refused(guarded, WITH_KEYS).message == "cloud: GET /readyz: no answer within 30 s"
    assert guarded.slept == []


def test_answer_that_comes_bit_by_bit_is_given_up_when_the_time_of_a_request_is_over(guarded: Cloud) -> None:
    guarded.front.before = [Reply(b"x" * 500_000)]

    with pytest.raises(CloudError, match=r"GET /readyz: no answer within 30 s"):
        tried(guarded, GUARDED, tick_s=41.0)
    assert guarded.slept == []


def test_answer_without_end_is_read_as_far_as_one_needs(guarded: Cloud) -> None:
    whole = b'{"choices": [{}], "usage": {"completion_tokens": 3}, "more": "%s"}'
    for size, is_read in ((1 << 19, True), (1 << 20, False)):
        body = whole.replace(b"%s", b"x" * size)
        guarded.front.before = [Reply(b"ready\n"), Reply(body, 200, {"x-relight-interaction": "int_1"})]
        if is_read:
            assert tried(guarded, GUARDED).answered
        else:
            assert "POST /v1/chat/completions: answered 200: {" in refused(guarded, GUARDED).message


@pytest.mark.parametrize(
    ("title", "said"),
    [
        (b"502 Bad Gateway", "Bad Gateway"),
        (b"Error 502 (Server Error)!!1", "Server Error"),
        (b"502", "502"),
        (b"Sign in to\n the network.", "Sign in to the network"),
    ],
)
def test_page_is_its_title(guarded: Cloud, title: bytes, said: str) -> None:
    page = b"<html><head><title>%s</title><style>a{b:c}</style></head><body><h1>Error: Server Error</h1>.</body></html>"
    guarded.front.before = [Reply(page % title, 502, {"content-type": "text/html"})]

    assert refused(guarded, GUARDED).message == f"cloud: GET /readyz: answered 502: {said}"


def test_sentence_ends_once(guarded: Cloud) -> None:
    guarded.front.before = [Reply(b"The container ended.", 500)]

    assert str(refused(guarded, GUARDED)).startswith("cloud: GET /readyz: answered 500: The container ended; ")


def test_first_words_drive_no_terminal(guarded: Cloud) -> None:
    guarded.front.before = [Reply(b"\x1b[2Jgone\x07\n" + b"x" * 5000, 500)]

    message = refused(guarded, GUARDED).message

    assert message.startswith("cloud: GET /readyz: answered 500: [2Jgone xxx")
    assert message.isprintable()
    assert len(message) < 400


# --- what a configuration asks for


def config(*, models: dict[str, Model] | None = None, **more: Any) -> Config:
    return Config(service=Service(name=SERVICE), models=models or {"smol": SMOL}, **more)


def on(**run: Any) -> Deploy:
    return Deploy(cloudrun=CloudRun(project="my-project", **run))


INVOKERS = on(invokers=(f"user:{USER}",))
PUBLIC = Assistant(model="smol", public=True, persona="prompts/persona.md")


def test_invokers_alone_open_the_front_door_behind_google() -> None:
    found = wanted(config(deploy=INVOKERS), key="rl_useless")

    assert (found.guarded, found.asks_key, found.key, found.path) == (True, False, None, "/v1/chat/completions")
    assert found.timeout_s == 600.0


def test_everybody_as_invoker_is_no_guard() -> None:
    assert not wanted(config(deploy=on(invokers=("allUsers",))), key=None).guarded


def test_keys_are_asked_for_without_invokers() -> None:
    found = wanted(config(auth=KEYS), key="rl_x")

    assert (found.guarded, found.asks_key, found.key) == (False, True, "rl_x")


@pytest.mark.parametrize(
    ("more", "key", "path", "asks_key"),
    [
        ({"auth": KEYS, "assistant": PUBLIC}, None, "/chat", False),
        ({"auth": KEYS, "assistant": PUBLIC}, "rl_x", "/v1/chat/completions", True),
        ({"assistant": PUBLIC}, "rl_x", "/chat", False),
        ({"assistant": PUBLIC, "server": Server(public=True)}, None, "/v1/chat/completions", False),
        ({"assistant": PUBLIC, "deploy": INVOKERS}, None, "/v1/chat/completions", False),
    ],
)
def test_public_assistant_is_asked_where_the_models_cannot_be(more: Any, key: str | None, path: str, asks_key: bool) -> None:
    found = wanted(config(**more), key=key)

    assert (found.path, found.asks_key) == (path, asks_key)


@pytest.mark.parametrize(("task", "path"), [(Task.EMBED, "/v1/embeddings"), (Task.RERANK, "/v1/rerank")])
def test_model_is_asked_for_what_it_is_for(task: Task, path: str) -> None:
    found = wanted(config(models={"toy": replace(SMOL, task=task)}), key=None)

    assert (found.path, found.body["model"]) == (path, "toy")


def test_default_model_is_asked_else_the_first() -> None:
    both = {"smol": SMOL, "cloud": CLOUD}

    assert wanted(config(models=both), key=None).body["model"] == "smol"
    assert wanted(Config(service=Service(default_model="cloud"), models=both), key=None).body["model"] == "cloud"
    assert wanted(config(models=both, assistant=PUBLIC, server=Server(public=True)), key=None).body["model"] == "assistant"


def test_service_of_another_network_is_not_reachable() -> None:
    found = wanted(config(deploy=on(ingress=Ingress.INTERNAL, timeout=Duration(60))), key=None)

    assert (found.is_reachable, found.timeout_s) == (False, 60.0)


# --- a real front door

RELIGHT = """
[service]
name = "portfolio"
[server]
port = 0
trusted_hops = 1
[models.toy]
engine = "scripted"
{more}
[weights]
dir = "weights"
"""
ASSISTANT = "[assistant]\nmodel = 'toy'\npublic = true\npersona = 'persona.md'\n"
HAS_KEYS = "[auth]\nkeys = { secret = 'RELIGHT_KEYS' }\n"


@pytest.mark.real
@pytest.mark.parametrize(
    ("more", "env", "has_key", "invokers", "path"),
    [
        ("", {"RELIGHT_SERVER__PUBLIC": "true"}, False, True, "POST /v1/chat/completions"),
        (HAS_KEYS, {}, True, True, "POST /v1/chat/completions"),
        (HAS_KEYS, {}, False, False, None),
        (HAS_KEYS + ASSISTANT, {}, False, True, "POST /chat"),
    ],
)
def test_real_front_door_behind_google_shows_what_is_wanted(
    cloud: Cloud, tmp_path: Path, *, more: str, env: dict[str, str], has_key: bool, invokers: bool, path: str | None
) -> None:
    (tmp_path / "persona.md").write_text("You are brief.")
    file = tmp_path / "relight.toml"
    file.write_text(RELIGHT.format(more=more))
    key, entry = create("test", "2026-11-22")
    assistant = PUBLIC if ASSISTANT in more else Assistant()
    auth = {"auth": KEYS} if HAS_KEYS in more else {}
    said = config(
        models={"toy": Model()},
        assistant=assistant,
        deploy=INVOKERS if invokers else on(),
        server=Server(public=bool(env)),
        **auth,
    )
    cloud.front.invokers[SERVICE] = {f"serviceAccount:{ACCOUNT}"} if invokers else None

    with serve(file, env={**env, "RELIGHT_KEYS": str(entry)}) as door:
        cloud.front.behind = door.base
        found = tried(cloud, wanted(said, key if has_key else None))

    assert found.answered is (path is not None)
    if path is None:
        assert (found.asked[1].status, found.note is None) == (401, False)
    else:
        assert found.asked[1].what == path
        assert found.model == "toy"
        assert (found.tokens or 0) > 0
    assert found.asked[-1].status == (403 if invokers else found.asked[1].status)

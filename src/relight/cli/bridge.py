"""`relight bridge`: a door on this machine to a private service elsewhere, with an identity and with patience."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import msgspec

from relight.bridge.door import HERE
from relight.cli.identity import GOOGLES, check_account
from relight.cli.output import DurationType, config_option
from relight.cli.receipts import RECEIPT, Service, is_known, remember
from relight.cli.talk import KEY_VARIABLE
from relight.config.load import load
from relight.decoding import NOT_JSON
from relight.errors import ConfigError, UsageError
from relight.values import Duration, counted

if TYPE_CHECKING:
    from relight.bridge.identity import Tokens
    from relight.bridge.news import State, Watch
    from relight.config.load import Loaded


@click.command()
@click.argument("url", metavar="[URL]", required=False)
@click.option("--port", "-p", type=click.IntRange(0, 65535), default=8787, show_default=True, help="Port on 127.0.0.1.")
@click.option(
    "--audience", metavar="URL", help="Whom identity tokens are for. Left out: the service, if it is Google's (*.run.app)."
)
@click.option("--account", metavar="EMAIL", help="Service account to act for. Left out: whoever is signed in.")
@click.option("--patience", type=DurationType(), default="10m", show_default=True, help="Longest wait for an answer to begin.")
@click.option(
    "--hold-json", type=DurationType(), default=None, help="White space for clients that do not stream, after this time."
)
@click.option("--no-wake", is_flag=True, help="Do not wake the service before it is asked.")
@click.option("--all-users", is_flag=True, help="Let programs of other users of this machine use it, too.")
@click.option(
    "--yes", "-y", "is_sure", is_flag=True, help="Do not ask whether the address that a folder came with is to be believed."
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print what happens as lines of JSON.")
def bridge(  # noqa: PLR0913 - one parameter an option
    url: str | None,
    port: int,
    *,
    audience: str | None,
    account: str | None,
    patience: Duration,
    hold_json: Duration | None,
    config_file: str,
    no_wake: bool,
    all_users: bool,
    is_sure: bool,
    as_json: bool,
) -> None:
    """Let agents on this machine reach a private service at URL: point them at http://127.0.0.1:8787.

    URL is the deployed service of relight.toml unless named. Each request gets an identity token of whoever is signed in to
    Google, in a header of its own, so that the agent's API key goes through as it is; streams are kept alive while the platform
    starts a container. A service that lets anybody in is shown none. Any program of this user can use it until Ctrl-C (where the
    system is not Linux: any program on this machine). RELIGHT_KEY, if set, lets it wake the engine at once.
    """
    from relight.bridge.bridge import Bridge, Options
    from relight.bridge.reply import Manner

    found = checked(url) if url else _configured(config_file, as_json=as_json, is_sure=is_sure)
    check_account(account)
    options = Options(
        found,
        port,
        float(patience),
        Manner(None if hold_json is None else float(hold_json)),
        key=os.environ.get(KEY_VARIABLE),
        wakes=not no_wake,
        all_users=all_users,
    )
    tokens = tokens_for(found, audience, account)
    watch = JsonWatch() if as_json else TextWatch()
    asyncio.run(_run(Bridge(options, tokens, watch=watch), found, watch))


def checked(url: str) -> str:
    """The address of a service without path and slash; raises `UsageError` for one that a key must not be sent to."""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.username is not None or parts.scheme not in {"http", "https"}:
        raise UsageError(f"bridge: should be an address like https://my-service.run.app, got {url!r}")
    if parts.scheme == "http" and host not in HERE:
        raise UsageError(f"bridge: {url}: keys and tokens would go through the network in the clear", hint="use https://")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"


def _configured(config_file: str, *, as_json: bool, is_sure: bool) -> str:
    """The address of the service that was deployed from here; whoever has none is told that it can be named.

    One that is not known to this user came with the folder, and may lead to anybody: it is shown, and asked about.
    """
    from relight.cli.connected import need_somebody

    try:
        found = deployed(load(config_file))
    except ConfigError as error:
        what = f"bridge: no address is named, and the configuration leads to none ({error.message})"
        raise UsageError(what, hint="name it: relight bridge https://my-service.run.app") from None
    if is_known(found.service):
        return found.service.url
    one = found.service
    what = f"{one.url}: {one.service} in {one.project}, {one.region}, as {found.says} says; not deployed by you from this machine"
    click.echo(what, err=True)
    need_somebody("bridge", as_json=as_json, is_sure=is_sure, hint=f"if you know it: relight bridge {one.url}, or add --yes")
    if not is_sure:
        click.confirm("Show your identity and your requests there?", abort=True, err=True)
    remember(one)
    return one.url


class _Receipt(msgspec.Struct, frozen=True):
    project: str
    region: str
    service: str
    url: str | None = None


class Deployed(msgspec.Struct, frozen=True):
    """A service that was deployed, and who says where it answers."""

    service: Service
    says: str


def deployed(loaded: Loaded) -> Deployed:
    """The service that was deployed from here: as its receipt says, else as Google does. Raises `UsageError` where there is
    none, `ConfigError` or `CloudError` where it cannot be found out."""
    from relight.cli.connected import project_of

    project, region = project_of(loaded)
    name = loaded.config.service.name
    try:
        kept = msgspec.json.decode((loaded.folder / RECEIPT).read_bytes(), type=_Receipt)
    except (OSError, *NOT_JSON, msgspec.ValidationError):
        kept = None
    if kept is not None and kept.url and (kept.project, kept.region, kept.service) == (project, region, name):
        return Deployed(Service(project, region, name, checked(kept.url)), str(loaded.folder / RECEIPT))
    from relight.cloud.google import signed_in
    from relight.cloud.reading import read_service

    service = read_service(signed_in(project, region), name)
    if service is None or not service.uri:
        raise UsageError(
            f"bridge: there is no service {name} in {project}, {region}", hint="name its address, or: relight deploy"
        )
    return Deployed(Service(project, region, name, checked(service.uri)), f"Google, of the project that {loaded.path} names,")


def tokens_for(url: str, audience: str | None, account: str | None) -> Tokens:
    """Who gives tokens for the service; nobody for one that is not Google's, unless an audience says that it asks for them."""
    from relight.bridge.identity import NoTokens
    from relight.cli.identity import Googles, audience_of

    named = audience or audience_of(url)
    return NoTokens() if named is None else Googles(named, account)


class TextWatch:
    """Tells people: a line for what happens, and on a terminal one that is written anew as counts change."""

    def __init__(self) -> None:
        self._is_live = sys.stderr.isatty()
        self._line = ""

    def listening(self, address: str, url: str, *, has_identity: bool, is_guarded: bool) -> None:
        """It has begun."""
        self._print(f"{address} leads to {url}; stop with Ctrl-C")
        if not has_identity:
            self._print(f"no identity is shown there: it is not one of Google's ({GOOGLES}), and no --audience is named")
        if not is_guarded:
            self._print("any program of this machine may use it")

    def changed(self, state: State) -> None:
        """See `Watch`."""
        if self._is_live:
            self._line = state.line(time.monotonic(), time.time())
            sys.stderr.write(f"\r\x1b[K{self._line}")
            sys.stderr.flush()

    def said(self, event: str, **facts: object) -> None:
        """See `Watch`."""
        match event:
            case "answered":
                pass  # counted
            case "ended":
                self._line = ""
                self._print(f"ended after {counted(int(str(facts.get('requests', 0))), 'request')}")
            case "waiting":
                self._print("the service is starting")
            case "answering":
                self._print(f"the service answers, after {facts.get('after_s')} s")
            case _:
                what = str(facts.get("message") or facts.get("why") or event)
                self._print(f"{what}; {facts['hint']}" if facts.get("hint") else what)

    def _print(self, text: str) -> None:
        if self._is_live:
            sys.stderr.write("\r\x1b[K")
        # What a server said is text, and not a terminal's commands.
        shown = "".join(one if one.isprintable() else "?" for one in text)
        print(shown, file=sys.stderr, flush=True)
        if self._is_live and self._line:
            sys.stderr.write(self._line)
            sys.stderr.flush()


class JsonWatch:
    """Tells programs, on standard output."""

    def listening(self, address: str, url: str, *, has_identity: bool, is_guarded: bool) -> None:
        """It has begun."""
        self.said("listening", address=address, url=url, identity=has_identity, guarded=is_guarded)

    def changed(self, state: State) -> None:
        """See `Watch`: programs are told what happens, and count themselves."""

    def said(self, event: str, **facts: object) -> None:
        """See `Watch`."""
        print(msgspec.json.encode({"event": event, **facts}).decode(), flush=True)


async def _run(found: Any, url: str, watch: TextWatch | JsonWatch) -> None:
    from relight.bridge.bridge import serve

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # Windows: Ctrl-C is an exception there, and ends it as well
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
    address = await found.start()
    watch.listening(address, url, has_identity=found.identity.has_any, is_guarded=found.is_guarded)
    ticking = asyncio.create_task(_tick(found, watch))
    try:
        await serve(found, stopped)
    finally:
        ticking.cancel()
    watch.said("ended", requests=found.state.done)


async def _tick(found: Any, watch: TextWatch | JsonWatch) -> None:
    """How long it has waited is shown as it grows."""
    while True:
        await found.clock.sleep(1.0)
        if found.state.waiting_since is not None:
            watch.changed(found.state)


if TYPE_CHECKING:
    _: tuple[Watch, Watch] = (TextWatch(), JsonWatch())

"""The way to an endpoint, layer by layer: name, connection, certificate, the platform in front, key. Knows no dialect."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from relight.check.http import Auth, Reply
from relight.check.question import Json, obj, text
from relight.check.unit import Layer, Session
from relight.check.verdict import Outcome, failed, passed, shown, skipped, unsure
from relight.loopback import is_loopback
from relight.values import counted

_CONNECT_S: Final = 15.0
_SOON_DAYS: Final = 14
_NOT_YET: Final = (429, 502, 503, 504)
_AGAIN_S: Final = 2.0
# What says in a page that Google turned the request away, and not the service behind it.
_GOOGLE: Final = (b"your client does not have permission", b"google frontend", b"iap credentials", b"robot.png")


def _where(session: Session) -> tuple[str, int, bool]:
    """Host, port, and whether it is reached by TLS."""
    parts = urlsplit(session.line.url)
    is_tls = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls


async def _name(session: Session) -> Outcome:
    host, port, _ = _where(session)
    try:
        async with asyncio.timeout(_CONNECT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return failed(f"{shown(host, 80)} does not resolve ({shown(str(error), 80)})")
    return passed(", ".join(dict.fromkeys(str(address[4][0]) for address in found)))


async def _tcp(session: Session) -> Outcome:
    host, port, _ = _where(session)
    try:
        await _touch(host, port, None)
    except TimeoutError:
        return failed(f"port {port} does not answer within {_CONNECT_S:.0f} s", "look for a firewall, or a wrong port")
    except OSError as error:
        return failed(f"port {port}: {os.strerror(error.errno) if error.errno else shown(str(error), 100)}")
    return passed(f"port {port} takes connections")


async def _tls(session: Session) -> Outcome:
    host, port, is_tls = _where(session)
    if not is_tls:
        is_open = session.line.key is not None and not is_loopback(host)
        return unsure("http: the key travels in clear") if is_open else skipped("http: no TLS")
    try:
        certificate = await _touch(host, port, ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        return failed(f"the certificate is not trusted: {shown(error.verify_message, 100)}", _advice(error))
    except ssl.SSLError as error:
        return failed(
            f"no TLS on port {port}: {shown(error.reason or str(error), 80)}", "call it with http://, or name another port"
        )
    except (OSError, TimeoutError) as error:
        return failed(f"the handshake broke: {shown(str(error) or 'timed out', 80)}")
    return _lasting(certificate)


def _lasting(certificate: Json) -> Outcome:
    ends = text(certificate.get("notAfter"))
    days = int((ssl.cert_time_to_seconds(ends) - time.time()) // 86400) if ends else 0
    seen = f"the certificate is trusted and ends in {counted(days, 'day')} ({ends})"
    return passed(seen) if days >= _SOON_DAYS else unsure(seen)


def _advice(error: ssl.SSLCertVerificationError) -> str:
    message = error.verify_message.lower()
    if "self-signed" in message or "self signed" in message or "issuer" in message:
        return "have a known authority sign it, or name its own: SSL_CERT_FILE here, NODE_EXTRA_CA_CERTS for agents on Node"
    if "expired" in message:
        return "renew the certificate"
    if "hostname" in message or "ip address" in message:
        return "call it by the name that the certificate is for"
    return "mend the certificate"


async def _touch(host: str, port: int, context: ssl.SSLContext | None) -> Json:
    """Connect and leave; the certificate, where there is one."""
    async with asyncio.timeout(_CONNECT_S):
        _, writer = await asyncio.open_connection(host, port, ssl=context)
        certificate = writer.get_extra_info("peercert")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return obj(certificate)


async def _identity(session: Session) -> Outcome:
    reply = session.models = await _listed(session)
    if reply.status is None or (reply.broke and not reply.chunks):
        return failed(reply.broke or "no answer", "see that an HTTP server listens there")
    if reply.status in (401, 403) and reply.json() is None and (reply.is_html or _is_google(reply) or not reply.body):
        who = "Google Cloud Run" if _is_google(reply) else "a platform or proxy in front of the service"
        return failed(
            f"{who} turns the request away ({reply.status}, not the service's own answer)",
            "the service is private: relight bridge signs requests with your Google identity"
            if _is_google(reply)
            else "sign in to what stands in front of it; for Cloud Run, relight bridge does",
        )
    if reply.status in (301, 302, 303, 307, 308):
        to = shown(reply.headers.get("location", "nowhere"), 80)
        return failed(
            f"redirected ({reply.status}) to {to}", "name the address that it leads to, or sign in to what stands in front"
        )
    if reply.is_html and reply.status == 200:
        return failed("a page for people, where models should be listed", "name the address of the API")
    if reply.is_html and b"robot.png" in reply.body:
        return failed(f"Google answers {reply.status}: it knows no service of this address", "relight status shows the address")
    return passed("no proxy, no platform")


async def _listed(session: Session) -> Reply:
    """The list of models; a platform that has no instance yet is asked again, as long as the patience lasts."""
    ends = session.clock.now() + session.settings.timeout_s
    while True:
        reply = await session.line.ask("GET", "/v1/models", within_s=max(ends - session.clock.now(), _AGAIN_S))
        if reply.status not in _NOT_YET or session.clock.now() + _AGAIN_S >= ends:
            return reply
        await session.clock.sleep(_AGAIN_S)


def _is_google(reply: Reply) -> bool:
    hints = reply.body[:4096].lower() + " ".join([*reply.headers, *reply.headers.values()]).lower().encode()
    return (
        any(hint in hints for hint in _GOOGLE)
        or "x-serverless-authorization" in reply.headers.get("www-authenticate", "").lower()
    )


async def _key(session: Session) -> Outcome:
    if session.models.status in (401, 403):
        if session.line.key is None:
            return failed("it asks for a key", "name the variable that holds it: --key-variable NAME")
        return failed(f"it does not know the key in {session.line.key.name}", "copy the key again; relight keys create makes one")
    if session.line.key is None:
        return passed("it asks for none")
    without = await session.line.ask("GET", "/v1/models", within_s=session.settings.request_s, auth=Auth.NONE)
    session.is_locked = without.status in (401, 403)
    return passed("the key is good" if session.is_locked else "a key was sent, and none is asked for")


_ALL: Final = "every agent"

LAYERS: Final = (
    Layer("name", "the name resolves", _name, _ALL, "see that the address is written rightly"),
    Layer("tcp", "the port answers", _tcp, _ALL, "start the server (relight serve), or name its port"),
    Layer("tls", "the certificate is trusted", _tls, _ALL, "renew the certificate"),
    Layer("identity", "nobody else answers in its place", _identity, _ALL, "sign in to what stands in front of it"),
    Layer("key", "the key is taken", _key, _ALL, "set the key"),
)

"""The way to an endpoint, layer by layer: what breaks is named, and nothing behind it is asked."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relight.access.keys import create
from relight.check.examination import Examination, Target, base_of, exit_code
from relight.check.unit import Settings
from relight.check.verdict import Report, Status
from relight.errors import ExitCode, UsageError
from tests.check.broken_server import Fault, Sent, broken, serving
from tests.check.examined import Hurried, examine, fails, of, seen
from tests.serve.process import free_port, serve, write_config

FORBIDDEN = """
<html><head>
<meta http-equiv="content-type" content="text/html;charset=utf-8">
<title>403 Forbidden</title>
</head>
<body text=#000000 bgcolor=#ffffff>
<h1>Error: Forbidden</h1>
<h2>Your client does not have permission to get URL <code>/v1/models</code> from this server.</h2>
<h2></h2>
</body></html>
"""


def answering(status: int, body: str, kind: str = "text/html", **headers: str) -> Callable[[web.Request], Any]:
    """Whatever is asked, this is the answer."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, content_type=kind, headers=headers)

    return answer


async def found_at(answer: Callable[[web.Request], Any], **how: Any) -> Report:
    async with serving(answer) as url:
        return await examine(url, "chat", **how)


def last(report: Report) -> tuple[str, Status]:
    """Where it stopped."""
    finding = report.findings[-1]
    return finding.check, finding.status


# --- name and port


async def test_name_that_does_not_resolve_is_said_first() -> None:
    report = await examine("http://no-such-host.invalid:8080")
    assert last(report) == ("name", Status.FAIL)
    assert len(report.findings) == 1
    assert exit_code(report) == ExitCode.NETWORK
    assert report.agents == ()


async def test_port_that_nobody_listens_on() -> None:
    report = await examine(f"http://127.0.0.1:{free_port()}")
    assert last(report) == ("tcp", Status.FAIL)
    assert "refused" in report.findings[-1].seen.lower()
    assert exit_code(report) == ExitCode.NETWORK


# --- certificates


@dataclass(frozen=True)
class Certified:
    """A certificate in a file, and a server's context that shows it."""

    file: Path
    context: ssl.SSLContext


def certified(folder: Path, *, name: str = "localhost", days: int = 90) -> Certified:
    """Signed by itself, for a name, so many days from now on (or until so many days ago)."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=100))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return Certified(file, context)


@asynccontextmanager
async def encrypted(shown: Certified) -> AsyncIterator[str]:
    """A server that speaks TLS and has one model."""
    models = json.dumps({"object": "list", "data": [{"id": "toy"}]})
    async with serving(answering(200, models, "application/json"), ssl=shown.context, host="localhost", scheme="https") as url:
        yield url


async def test_self_signed_certificate_is_named(tmp_path: Path) -> None:
    async with encrypted(certified(tmp_path)) as url:
        report = await examine(url)
    assert last(report) == ("tls", Status.FAIL)
    assert "self-signed" in report.findings[-1].seen
    assert "NODE_EXTRA_CA_CERTS" in report.findings[-1].advice
    assert exit_code(report) == ExitCode.NETWORK


async def test_certificate_of_an_authority_that_is_named_is_trusted_and_its_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = certified(tmp_path, days=90)
    monkeypatch.setenv("SSL_CERT_FILE", str(shown.file))
    async with encrypted(shown) as url:
        report = await examine(url, "chat")
    assert "tls" in of(report, Status.PASS)
    assert "ends in 89 days" in seen(report, "tls")
    assert "models" in of(report, Status.PASS)


async def test_certificate_that_soon_ends_is_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = certified(tmp_path, days=3)
    monkeypatch.setenv("SSL_CERT_FILE", str(shown.file))
    async with encrypted(shown) as url:
        report = await examine(url, "chat")
    assert "tls" in of(report, Status.UNSURE)
    assert "ends in 2 days" in seen(report, "tls")


@pytest.mark.parametrize(
    ("settings", "word", "advice"),
    [({"days": -1}, "expired", "renew"), ({"name": "elsewhere.example"}, "mismatch", "the name that the certificate is for")],
)
async def test_certificate_that_ended_or_is_for_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], word: str, advice: str
) -> None:
    shown = certified(tmp_path, **settings)
    monkeypatch.setenv("SSL_CERT_FILE", str(shown.file))
    async with encrypted(shown) as url:
        report = await examine(url)
    assert last(report) == ("tls", Status.FAIL)
    assert word in report.findings[-1].seen
    assert advice in report.findings[-1].advice


async def test_plain_http_where_tls_was_expected(tmp_path: Path) -> None:
    async with serving(answering(200, "{}"), scheme="https") as url:
        report = await examine(url)
    assert last(report) == ("tls", Status.FAIL)
    assert "http://" in report.findings[-1].advice


# --- who answers


async def test_page_of_cloud_run_is_told_from_the_answer_of_a_service() -> None:
    report = await found_at(answering(403, FORBIDDEN))
    assert last(report) == ("identity", Status.FAIL)
    assert "Google Cloud Run" in report.findings[-1].seen
    assert "relight bridge" in report.findings[-1].advice
    assert exit_code(report) == ExitCode.NETWORK


async def test_empty_401_of_cloud_run_is_known_by_its_headers() -> None:
    report = await found_at(answering(401, "", Server="Google Frontend"))
    assert last(report) == ("identity", Status.FAIL)
    assert "relight bridge" in report.findings[-1].advice


async def test_page_of_another_proxy_is_no_page_of_google() -> None:
    report = await found_at(answering(403, "<html><body>Access denied</body></html>"))
    assert last(report) == ("identity", Status.FAIL)
    assert "Google" not in report.findings[-1].seen


async def test_login_page_elsewhere_and_page_for_people() -> None:
    report = await found_at(answering(302, "", Location="https://login.example/"))
    assert last(report) == ("identity", Status.FAIL)
    assert "https://login.example/" in report.findings[-1].seen
    report = await found_at(answering(200, "<!doctype html><html></html>"))
    assert last(report) == ("identity", Status.FAIL)


async def test_what_is_no_http_is_said(tmp_path: Path) -> None:

    async def mumble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        writer.close()

    async with await asyncio.start_server(mumble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        report = await examine(f"http://127.0.0.1:{port}")
    assert last(report) == ("identity", Status.FAIL)
    assert exit_code(report) == ExitCode.NETWORK


async def test_words_of_a_server_cannot_drive_the_terminal() -> None:
    report = await found_at(answering(500, "\x1b[2J\x1b]0;owned\x07\u202ereversed", "text/plain"))
    assert last(report) == ("models", Status.FAIL)
    told = report.findings[-1].seen + report.findings[-1].came
    assert "owned" in told
    assert told.isprintable()


# --- keys and models


async def test_key_is_asked_for_refused_and_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, entry = create("laptop", "2026-11-22")
    config = write_config(tmp_path, model='[auth]\nkeys = { secret = "TEST_KEYS" }\n')
    with serve(config, env={"TEST_KEYS": str(entry)}) as served:
        without = await examine(served.base, "chat")
        wrong = await examine(served.base, "chat", key="sk-wrong-0123456789")
        right = await examine(served.base, "chat", "messages", key=key, only=frozenset({"errors.key", "key.headers"}))
    assert last(without) == ("key", Status.FAIL)
    assert "--key-variable" in without.findings[-1].advice
    assert exit_code(without) == ExitCode.FOUND
    assert last(wrong) == ("key", Status.FAIL)
    assert "TEST_KEY" in wrong.findings[-1].seen
    assert not fails(right)
    for dialect in ("chat", "messages"):
        assert {f"{dialect}.errors.key", f"{dialect}.key.headers"} <= of(right, Status.PASS)


async def test_key_that_a_server_repeats_is_starred(tmp_path: Path) -> None:
    key = "sk-secret-0123456789abcdef"

    async def parrot(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"data": [{"id": "toy"}]})
        return web.json_response({"error": {"message": f"no: {request.headers.get('authorization')} " * 40}}, status=418)

    report = await found_at(parrot, key=key)
    assert last(report)[0] == "keepalive"
    told = str(report)
    assert "***" in told
    assert key[:8] not in told


async def test_header_x_api_key_that_is_not_read_is_found(tmp_path: Path) -> None:
    key, entry = create("laptop", "2026-11-22")
    config = write_config(tmp_path, model='[auth]\nkeys = { secret = "TEST_KEYS" }\n')
    with serve(config, env={"TEST_KEYS": str(entry)}) as served:
        deaf = Fault(
            lambda asked: Sent(401, b'{"error": {"message": "no key", "type": "auth"}}') if "x-api-key" in asked.headers else None
        )
        async with broken(served.base, deaf) as server:
            report = await examine(server.url, "chat", key=key, only=frozenset({"errors.key", "key.headers"}))
    assert fails(report) == {"chat.key.headers"}


async def test_model_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    models = json.dumps({"data": [{"id": "one"}, {"id": "two"}]})
    report = await found_at(answering(200, models, "application/json"), model="three")
    assert last(report) == ("models", Status.FAIL)
    assert "one, two" in report.findings[-1].seen


async def test_server_without_a_list_is_asked_for_the_model_that_was_named(tmp_path: Path) -> None:
    config = write_config(tmp_path, model="context = 2048")
    hidden = Fault(lambda asked: Sent(404, b"{}") if asked.path.startswith(("/v1/models", "/api/tags", "/props")) else None)
    with serve(config) as served:
        async with broken(served.base, hidden) as server:
            nameless = await examine(server.url, "chat", is_quick=True)
            named = await examine(server.url, "chat", model="toy", context=2048, is_quick=True)
    assert last(nameless) == ("models", Status.FAIL)
    assert "models" in of(named, Status.UNSUPPORTED)
    assert not fails(named)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://a.example/v1", "https://a.example"),
        ("https://a.example/v1/chat/completions", "https://a.example"),
        ("https://a.example/api/v1/", "https://a.example/api"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
    ],
)
def test_address_as_people_have_it_at_hand(given: str, base: str) -> None:
    assert base_of(given) == base


@pytest.mark.parametrize("given", ["ftp://a.example", "http://", "http://a.example:99999", "http://me:secret@a.example"])
def test_address_that_is_none_is_refused_without_its_secret(given: str) -> None:
    with pytest.raises(UsageError) as caught:
        base_of(given)
    assert "secret" not in str(caught.value)


async def test_platform_that_has_no_instance_yet_is_asked_again() -> None:
    left = [2]

    async def starting(_: web.Request) -> web.Response:
        if left[0]:
            left[0] -= 1
            return web.Response(status=429, text="<html>no available instance</html>", content_type="text/html")
        return web.json_response({"data": [{"id": "toy"}]})

    async with serving(starting) as url:
        report = await Examination(Target(url), Settings(dialects=("chat",), timeout_s=60), clock=Hurried()).run()
    assert "models" in of(report, Status.PASS)
    assert left == [0]

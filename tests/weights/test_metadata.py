"""Who asks for an object: the account that a container runs as, through the metadata server beside it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.errors import NetworkError
from relight.weights.fetch import fetch
from relight.weights.metadata import MachineToken, machine_token
from relight.weights.patience import Busy
from tests.weights.bucket import ACCOUNT, TOKEN, Bucket, Metadata, Trouble
from tests.weights.files import gguf, sha256
from tests.weights.server import FileServer
from tests.weights.setting import BIG, Waits, files, want

GS = "gs://weights/dir/m.gguf"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with Bucket() as running:
        running.put("weights/dir/m.gguf", BIG)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.host)
        yield running


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    with Metadata() as running:
        monkeypatch.setenv("GCE_METADATA_HOST", running.host)
        yield running


def test_object_is_fetched_as_the_account_of_the_container(bucket: Bucket, metadata: Metadata, tmp_path: Path) -> None:
    assert fetch(want(GS, tmp_path)).sha256 == sha256(BIG)
    assert {seen.headers["authorization"] for seen in bucket.seen} == {f"Bearer {TOKEN}"}
    assert [seen.path.rpartition("/")[2] for seen in metadata.seen] == ["token"]
    assert not any(TOKEN.encode() in path.read_bytes() for path in tmp_path.rglob("*.json"))


def test_token_of_the_environment_wins(
    bucket: Bucket, metadata: Metadata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.token = "ya29.mine"
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "ya29.mine")
    assert fetch(want(GS, tmp_path)).fetched
    assert metadata.seen == []


def test_nobody_is_asked_outside_the_platform() -> None:
    assert machine_token({}, GS) is None
    assert machine_token({"K_SERVICE": "smol"}, GS) is not None
    assert machine_token({"CLOUD_RUN_JOB": "bake"}, GS) is not None


def test_token_is_kept_until_it_is_about_to_expire(metadata: Metadata) -> None:
    now = 1000.0
    token = MachineToken(metadata.host, GS, is_certain=True, now=lambda: now)
    assert [token.reveal(), token.reveal()] == [TOKEN, TOKEN]
    assert len(metadata.seen) == 1
    now, metadata.token = 1000.0 + 3599 - 59, "ya29.next"
    assert token.reveal() == "ya29.next"
    assert TOKEN not in repr(token)


def test_proxy_never_sees_the_token(
    bucket: Bucket, metadata: Metadata, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1:" + bucket.host.rpartition(":")[2])
    assert fetch(want(GS, tmp_path)).fetched
    assert server.seen == []


def test_token_stays_with_the_bucket_when_it_sends_elsewhere(
    bucket: Bucket, metadata: Metadata, server: FileServer, tmp_path: Path
) -> None:
    server.files["/m.gguf"] = BIG
    elsewhere = {"location": f"http://localhost:{server.port}/m.gguf"}
    bucket.trouble = lambda seen: Trouble(status=302, headers=elsewhere)
    assert fetch(want(GS, tmp_path)).sha256 == sha256(BIG)
    assert all("authorization" not in seen.headers for seen in server.seen)


def test_refused_account_is_named_with_the_role_that_it_needs(bucket: Bucket, metadata: Metadata, tmp_path: Path) -> None:
    bucket.token = "ya29.of somebody else"
    with pytest.raises(NetworkError) as caught:
        fetch(want(GS, tmp_path))
    said = str(caught.value)
    assert f"answered 403: access denied; give {ACCOUNT} the role roles/storage.objectViewer" in said
    assert "on the bucket weights" in said
    assert TOKEN not in said
    assert files(tmp_path) == set()


def test_token_that_is_not_taken_names_the_account(bucket: Bucket, metadata: Metadata, tmp_path: Path) -> None:
    bucket.trouble = lambda seen: Trouble(status=401)
    with pytest.raises(NetworkError, match=f"answered 401: access denied; the token of {ACCOUNT} was not taken"):
        fetch(want(GS, tmp_path))


def test_missing_object_is_told_as_that(bucket: Bucket, metadata: Metadata, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"no such file; check models\.smol\.source: there is no bucket weights, or no such"):
        fetch(want("gs://weights/gone.gguf", tmp_path))


def test_metadata_server_that_is_busy_is_asked_again(bucket: Bucket, metadata: Metadata, tmp_path: Path, waits: Waits) -> None:
    metadata.statuses = [503, 429]
    assert fetch(want(GS, tmp_path), patience=waits.patience()).fetched
    assert waits == [1.0, 2.0]


def test_container_without_an_account_is_told_what_to_set(bucket: Bucket, metadata: Metadata, tmp_path: Path) -> None:
    metadata.statuses = [404]
    with pytest.raises(NetworkError, match=r"knows no account of this container; set deploy\.cloudrun\.service_account"):
        fetch(want(GS, tmp_path))


def test_whoever_else_answers_gets_nothing_believed(bucket: Bucket, metadata: Metadata, tmp_path: Path) -> None:
    metadata.is_google = False
    with pytest.raises(NetworkError, match="gave no token") as caught:
        fetch(want(GS, tmp_path))
    assert TOKEN not in str(caught.value)
    assert bucket.seen == []


def test_server_that_should_be_there_and_is_not_is_missed(tmp_path: Path) -> None:
    with Metadata() as gone:
        host = gone.host
    with pytest.raises(Busy, match=r"no answer from the metadata server \(.*[Rr]efused"):
        MachineToken(host, GS, is_certain=True).reveal()


def test_platform_without_a_metadata_server_reads_open_buckets_without_a_token() -> None:
    """Knative runs elsewhere, too, and names itself with the same variable. No name below .invalid exists (RFC 6761)."""
    try:
        socket.getaddrinfo("metadata!.invalid", 80)
    except socket.gaierror as error:
        if error.errno != socket.EAI_NONAME:
            pytest.skip("no name server to say that there is no such name")
    assert MachineToken("metadata!.invalid", GS, is_certain=False).reveal() is None
    with pytest.raises(Busy):
        MachineToken("metadata!.invalid", GS, is_certain=True).reveal()


def test_fetching_imports_none_of_googles_libraries(bucket: Bucket, metadata: Metadata, tmp_path: Path) -> None:
    bucket.put("weights/dir/m.gguf", gguf())
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from relight.config.schema import Model\n"
        "from relight.weights.fetch import fetch, wanted\n"
        f"fetch(wanted('smol', Model(source={GS!r}), Path(sys.argv[1]), 'store'))\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in {'google', 'requests', 'grpc'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

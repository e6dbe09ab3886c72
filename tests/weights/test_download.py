"""Downloads against a real server with real faults: they end with the whole file, or with an error and no half of it."""

from __future__ import annotations

import email.utils
import time
from pathlib import Path

import pytest

from relight.config.schema import Model
from relight.errors import NetworkError, WeightsError
from relight.weights.fetch import State, Weights, fetch, locate, state, wanted
from relight.weights.progress import Phase, Report, Update
from tests.weights.files import gguf, sha256
from tests.weights.server import Fault, FileServer
from tests.weights.setting import BIG, Waits, files, want


def interrupted_at(count: int) -> Report:
    def report(update: Update) -> None:
        if update.phase is Phase.DOWNLOAD and update.done >= count:
            raise KeyboardInterrupt

    return report


def test_file_is_downloaded_checked_recorded_and_then_found(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = BIG
    model = Model(source=f"{server.url}/m.gguf", sha256=sha256(BIG))
    assert locate("smol", model, tmp_path, "store") is None

    seen: list[Update] = []
    weights = fetch(wanted("smol", model, tmp_path, "store"), report=seen.append)

    assert weights.path.read_bytes() == BIG
    assert weights == Weights(weights.path, sha256(BIG), len(BIG), fetched=True)
    assert locate("smol", model, tmp_path, "store") == weights.path
    assert files(tmp_path) == {"m.gguf", "m.gguf.json"}
    assert (seen[-1].done, seen[-1].total) == (len(BIG), len(BIG))
    assert server.seen[0].headers["accept-encoding"] == "identity"


def test_second_fetch_asks_no_server(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = BIG
    first = fetch(want(f"{server.url}/m.gguf", tmp_path))
    second = fetch(want(f"{server.url}/m.gguf", tmp_path))
    assert (first.fetched, second.fetched, len(server.seen)) == (True, False, 1)


def test_wrong_digest_names_both_and_keeps_nothing(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = BIG
    with pytest.raises(WeightsError, match=f"should be {'0' * 64}, got {sha256(BIG)}"):
        fetch(want(f"{server.url}/m.gguf", tmp_path, pin="0" * 64))
    assert files(tmp_path) == set()


def test_page_instead_of_weights_is_refused_and_not_kept(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = b"<!DOCTYPE html> please log in"
    with pytest.raises(WeightsError, match="is not a GGUF file"):
        fetch(want(f"{server.url}/m.gguf", tmp_path))
    assert files(tmp_path) == set()


def test_file_larger_than_the_disk_is_refused_before_it_is_sent(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = b""
    server.extra["content-length"] = str(2**60)
    with pytest.raises(WeightsError, match="not enough space: 1048576TiB to download"):
        fetch(want(f"{server.url}/m.gguf", tmp_path))
    assert files(tmp_path) == set()


def test_compressed_transfer_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = BIG
    server.extra["content-encoding"] = "gzip"
    with pytest.raises(NetworkError, match="gzip coding"):
        fetch(want(f"{server.url}/m.gguf", tmp_path))


def test_folder_that_cannot_be_written_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    with pytest.raises(WeightsError, match=r'model "smol": .*store.*; check weights\.dir'):
        fetch(want(f"{server.url}/m.gguf", tmp_path))


def test_interrupted_download_leaves_a_part_that_the_next_one_continues(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"], server.etags["/m.gguf"] = BIG, '"v1"'
    wish = want(f"{server.url}/m.gguf", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch(wish, report=interrupted_at(300_000))
    assert files(tmp_path) == {"m.gguf.part", "m.gguf.part.json"}
    assert state(wish) is State.PARTIAL
    kept = wish.part.stat().st_size
    assert 300_000 <= kept < len(BIG)

    assert fetch(wish).sha256 == sha256(BIG)
    again = server.seen[-1].headers
    assert (again["range"], again["if-range"]) == (f"bytes={kept}-", '"v1"')
    assert files(tmp_path) == {"m.gguf", "m.gguf.json"}


def test_body_that_breaks_off_is_continued_in_the_same_call(server: FileServer, tmp_path: Path, waits: Waits) -> None:
    server.files["/m.gguf"], server.etags["/m.gguf"] = BIG, '"v1"'
    server.faults.extend([Fault(truncate_at=200_000)] * 5)
    seen: list[Update] = []
    weights = fetch(want(f"{server.url}/m.gguf", tmp_path), report=seen.append, patience=waits.patience())
    assert weights.path.read_bytes() == BIG
    # More failures than attempts: each brought new bytes, so none of them was the last chance.
    assert [request.headers.get("range") for request in server.seen] == [
        None,
        *(f"bytes={count * 200_000}-" for count in range(1, 6)),
    ]
    assert waits == [1.0] * 5
    assert any("the transfer broke off" in update.note for update in seen)


def test_part_of_a_file_that_changed_is_thrown_away(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"], server.etags["/m.gguf"] = BIG, '"v1"'
    wish = want(f"{server.url}/m.gguf", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch(wish, report=interrupted_at(300_000))
    other = gguf(padding=5000)
    server.files["/m.gguf"], server.etags["/m.gguf"] = other, '"v2"'
    assert fetch(wish).path.read_bytes() == other


def test_part_without_anything_to_recognise_the_file_by_is_not_continued(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"], server.etags["/m.gguf"] = BIG, 'W/"weak"'
    wish = want(f"{server.url}/m.gguf", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch(wish, report=interrupted_at(300_000))
    assert fetch(wish).path.read_bytes() == BIG
    assert "range" not in server.seen[-1].headers


def test_server_without_ranges_sends_the_whole_file_again(server: FileServer, tmp_path: Path, waits: Waits) -> None:
    server.files["/m.gguf"], server.etags["/m.gguf"], server.ranges = BIG, '"v1"', False
    server.faults.append(Fault(truncate_at=200_000))
    weights = fetch(want(f"{server.url}/m.gguf", tmp_path), patience=waits.patience())
    assert weights.path.read_bytes() == BIG


def test_part_that_was_complete_already_is_taken(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"], server.etags["/m.gguf"] = BIG, '"v1"'
    wish = want(f"{server.url}/m.gguf", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch(wish, report=interrupted_at(len(BIG)))
    assert wish.part.stat().st_size == len(BIG)
    assert fetch(wish).sha256 == sha256(BIG)


def test_part_longer_than_the_file_is_thrown_away(server: FileServer, tmp_path: Path, waits: Waits) -> None:
    server.files["/m.gguf"], server.etags["/m.gguf"] = BIG, '"v1"'
    wish = want(f"{server.url}/m.gguf", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch(wish, report=interrupted_at(300_000))
    wish.part.write_bytes(bytes(len(BIG) + 1))
    assert fetch(wish, patience=waits.patience()).sha256 == sha256(BIG)


def test_busy_server_is_asked_again_when_it_says(server: FileServer, tmp_path: Path, waits: Waits) -> None:
    server.files["/m.gguf"] = BIG
    server.faults.extend([Fault(429, {"retry-after": "7"}), Fault(503), Fault(502)])
    assert fetch(want(f"{server.url}/m.gguf", tmp_path), patience=waits.patience()).fetched
    assert waits == [7.0, 2.0, 4.0]


def test_retry_after_may_be_a_date(server: FileServer, tmp_path: Path, waits: Waits) -> None:
    server.files["/m.gguf"] = BIG
    server.faults.append(Fault(503, {"retry-after": email.utils.formatdate(time.time() + 30, usegmt=True)}))
    fetch(want(f"{server.url}/m.gguf", tmp_path), patience=waits.patience())
    assert 25 < waits[0] <= 30


def test_server_that_wants_too_long_a_pause_is_left_alone(server: FileServer, tmp_path: Path, waits: Waits) -> None:
    server.faults.append(Fault(429, {"retry-after": "3600"}))
    with pytest.raises(NetworkError, match="answered 429; the server asks to come back in 3600 s") as caught:
        fetch(want(f"{server.url}/m.gguf", tmp_path), patience=waits.patience())
    assert (caught.value.retry_after_s, waits, len(server.seen)) == (3600, [], 1)


def test_server_that_stays_broken_is_given_up(server: FileServer, tmp_path: Path, waits: Waits) -> None:
    server.faults.extend([Fault(500)] * 9)
    with pytest.raises(NetworkError, match="answered 500; gave up after 4 failures"):
        fetch(want(f"{server.url}/m.gguf", tmp_path), patience=waits.patience())
    assert len(server.seen) == 4
    assert files(tmp_path) == set()


def test_no_server_at_all_is_said_in_words(server: FileServer, tmp_path: Path, waits: Waits) -> None:
    with FileServer() as gone:
        url = gone.url
    with pytest.raises(NetworkError, match=r"no answer from 127\.0\.0\.1 \(.*[Rr]efused"):
        fetch(want(f"{url}/m.gguf", tmp_path), patience=waits.patience())


@pytest.mark.parametrize(("status", "said"), [(404, "there is no such file"), (403, "access denied"), (418, "answered 418")])
def test_final_refusal_is_not_tried_again(server: FileServer, tmp_path: Path, waits: Waits, status: int, said: str) -> None:
    server.faults.append(Fault(status))
    with pytest.raises(NetworkError, match=said):
        fetch(want(f"{server.url}/m.gguf", tmp_path), patience=waits.patience())
    assert (waits, len(server.seen)) == ([], 1)

"""An object of a bucket, fetched in several ranges at once: it ends as the whole file, or with an error and no wrong file."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from relight.config.schema import Model
from relight.errors import NetworkError, WeightsError
from relight.values import format_bytes
from relight.weights import part
from relight.weights.fetch import State, fetch, require, state
from relight.weights.patience import Patience
from relight.weights.progress import Phase, Report, Update, silent
from relight.weights.ranges import RangeJob, fetch_ranges
from relight.weights.registry import resolve
from relight.weights.source import parse
from tests.weights.bucket import TOKEN, Bucket, Trouble
from tests.weights.files import gguf, sha256
from tests.weights.server import Seen
from tests.weights.setting import Waits, files, want

LARGE = gguf() + random.Random(6).randbytes(40 << 20)  # noqa: S311 - content that differs everywhere
OTHER = gguf() + random.Random(7).randbytes(40 << 20)  # noqa: S311
DIGEST = sha256(LARGE)
RANGE = 8 << 20
FIRSTS = list(range(0, len(LARGE), RANGE))
GS = "gs://weights/dir/m.gguf"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with Bucket() as running:
        running.put("weights/dir/m.gguf", LARGE)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.host)
        monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", TOKEN)
        yield running


def first_of(seen: Seen) -> int:
    """Where the range begins that a request asks for; -1 for the first look."""
    first, _, last = seen.headers.get("range", "bytes=0-0").removeprefix("bytes=").partition("-")
    return int(first) if last != "0" else -1


def once(at: int, trouble: Trouble, times: int = 1) -> Callable[[Seen], Trouble | None]:
    """Trouble with the first requests for the range that begins at `at`."""
    left = [trouble] * times
    return lambda seen: left.pop() if left and first_of(seen) == at else None


def interrupted_at(count: int) -> Report:
    def report(update: Update) -> None:
        if update.phase is Phase.DOWNLOAD and update.done >= count:
            raise KeyboardInterrupt

    return report


def test_object_comes_in_ranges_of_one_version_and_is_checked(bucket: Bucket, tmp_path: Path) -> None:
    seen: list[Update] = []
    weights = fetch(want(GS, tmp_path, pin=DIGEST), report=seen.append)
    assert weights.path.read_bytes() == LARGE
    assert weights.sha256 == DIGEST
    assert sorted(first for first, _ in bucket.asked()) == FIRSTS
    assert {seen.path.partition("?")[2] for seen in bucket.seen[1:]} == {"alt=media&ifGenerationMatch=1"}
    assert {seen.headers["authorization"] for seen in bucket.seen} == {f"Bearer {TOKEN}"}
    assert (seen[-1].done, seen[-1].total) == (len(LARGE), len(LARGE))
    assert files(tmp_path) == {"m.gguf", "m.gguf.json"}


def test_ranges_are_asked_for_at_once(bucket: Bucket, tmp_path: Path) -> None:
    on_their_way, all_are = set[int](), threading.Event()

    def trouble(seen: Seen) -> Trouble | None:
        on_their_way.add(first_of(seen))
        if on_their_way.issuperset(FIRSTS):
            all_are.set()
        return Trouble(wait=all_are) if first_of(seen) in FIRSTS else None

    bucket.trouble = trouble
    assert fetch(want(GS, tmp_path)).sha256 == DIGEST
    assert all_are.is_set()


def test_connection_is_used_for_one_range_after_the_other(bucket: Bucket, tmp_path: Path) -> None:
    request = resolve(parse(GS), patience=Patience(), report=silent).request
    assert fetch_ranges(RangeJob(request, tmp_path / "part", Patience(), silent, streams=1, longest=RANGE)) == DIGEST
    assert (len(bucket.asked()), len(bucket.peers)) == (len(FIRSTS), 1)


def test_small_object_comes_in_one_range(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("weights/dir/m.gguf", gguf())
    assert fetch(want(GS, tmp_path)).sha256 == sha256(gguf())
    assert bucket.asked() == [(0, len(gguf()) - 1)]


def test_connection_lost_in_the_middle_of_a_range_costs_only_its_rest(bucket: Bucket, tmp_path: Path, waits: Waits) -> None:
    bucket.trouble = once(RANGE, Trouble(cut_at=3 << 20))
    assert fetch(want(GS, tmp_path), patience=waits.patience()).sha256 == DIGEST
    assert sorted(first for first, _ in bucket.asked()) == sorted([*FIRSTS, RANGE + (3 << 20)])
    assert waits == [1.0]


@pytest.mark.parametrize("trouble", [Trouble(status=503), Trouble(status=429), Trouble(short_by=5), Trouble(cut_at=0)])
def test_range_that_fails_is_asked_for_again_by_itself(bucket: Bucket, tmp_path: Path, waits: Waits, trouble: Trouble) -> None:
    bucket.trouble = once(FIRSTS[-1], trouble)
    seen: list[Update] = []
    assert fetch(want(GS, tmp_path), report=seen.append, patience=waits.patience()).path.read_bytes() == LARGE
    assert len(bucket.asked()) == len(FIRSTS) + 1
    assert [update.phase for update in seen if update.note] == [Phase.WAIT]


def test_range_that_stays_refused_ends_the_fetch_and_the_next_one_asks_for_what_is_missing(
    bucket: Bucket, tmp_path: Path, waits: Waits
) -> None:
    bucket.trouble = once(RANGE, Trouble(status=503), times=99)
    wish = want(GS, tmp_path)
    with pytest.raises(NetworkError, match="answered 503; gave up after 4 failures"):
        fetch(wish, patience=waits.patience())
    assert state(wish) is State.PARTIAL
    bucket.trouble, there = (lambda seen: None), part.held(wish.part) or 0
    bucket.seen.clear()
    assert fetch(wish).sha256 == DIGEST
    assert sum(last + 1 - first for first, last in bucket.asked()) == len(LARGE) - there
    assert any(first <= RANGE <= last for first, last in bucket.asked())


def test_interrupted_fetch_keeps_what_is_there(bucket: Bucket, tmp_path: Path) -> None:
    wish = want(GS, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch(wish, report=interrupted_at(12 << 20))
    assert files(tmp_path) == {"m.gguf.part", "m.gguf.part.json"}
    there = part.held(wish.part) or 0
    assert 12 << 20 <= there <= wish.part.stat().st_size
    with pytest.raises(WeightsError, match=f"only partly downloaded \\({format_bytes(there)} so far"):
        require("smol", Model(source=GS), tmp_path, "store")
    bucket.seen.clear()
    seen: list[Update] = []
    assert fetch(wish, report=seen.append).path.read_bytes() == LARGE
    assert sum(last + 1 - first for first, last in bucket.asked()) == len(LARGE) - there
    assert min(update.done for update in seen) >= there


def test_killed_process_leaves_what_it_noted(bucket: Bucket, tmp_path: Path) -> None:
    huge = LARGE + OTHER + LARGE
    bucket.put("weights/dir/m.gguf", huge)
    go_on, last = threading.Event(), len(huge) - 8 * (1 << 20)
    bucket.trouble = lambda seen: Trouble(wait=go_on) if int(seen.headers["range"].rpartition("-")[2]) >= last else None
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from relight.config.schema import Model\n"
        "from relight.weights.fetch import fetch, wanted\n"
        f"want = wanted('smol', Model(source={GS!r}), Path(sys.argv[1]), 'store')\n"
        "fetch(want, report=lambda update: print(update.done, flush=True))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        # Almost all but the last range is there; notes are taken between one report and the next.
        there = (int(line) for line in process.stdout or () if int(line) >= 100 << 20)
        assert next(there) <= next(there)
        process.kill()
    go_on.set()
    noted = part.held(want(GS, tmp_path).part) or 0
    assert noted >= 64 << 20
    bucket.seen.clear()
    assert fetch(want(GS, tmp_path)).path.read_bytes() == huge
    assert sum(last + 1 - first for first, last in bucket.asked()) == len(huge) - noted


def test_what_the_notes_do_not_tell_of_is_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    """As after a kill: the part has bytes that nobody noted, and they may be half written."""
    wish = want(GS, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch(wish, report=interrupted_at(1))
    notes = part.read_notes(wish.part, GS)
    assert notes is not None
    wish.part.write_bytes(LARGE[:RANGE] + bytes(len(LARGE) - RANGE))
    part.write_notes(wish.part, msgspec.structs.replace(notes, ranges=((0, RANGE),)))
    bucket.seen.clear()
    assert fetch(wish).path.read_bytes() == LARGE
    assert sorted(first for first, _ in bucket.asked()) == FIRSTS[1:]


@pytest.mark.parametrize("left", [b"", LARGE[:1000]])
def test_part_that_lacks_what_its_notes_tell_of_is_begun_anew(bucket: Bucket, tmp_path: Path, left: bytes) -> None:
    wish = want(GS, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch(wish, report=interrupted_at(12 << 20))
    wish.part.write_bytes(left)
    assert fetch(wish).path.read_bytes() == LARGE


def test_object_that_changed_since_is_fetched_anew(bucket: Bucket, tmp_path: Path, waits: Waits) -> None:
    wish = want(GS, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch(wish, report=interrupted_at(12 << 20))
    bucket.put("weights/dir/m.gguf", OTHER)
    assert fetch(wish, patience=waits.patience()).path.read_bytes() == OTHER


def test_object_that_changes_meanwhile_is_never_mixed(bucket: Bucket, tmp_path: Path, waits: Waits) -> None:
    def trouble(seen: Seen) -> None:
        if first_of(seen) == FIRSTS[2] and bucket.objects["weights/dir/m.gguf"].generation == 1:
            bucket.put("weights/dir/m.gguf", OTHER)

    bucket.trouble = trouble
    weights = fetch(want(GS, tmp_path), patience=waits.patience())
    assert weights.path.read_bytes() == OTHER
    assert waits == [1.0]


def test_answer_of_another_version_is_not_taken_although_nobody_says_412(bucket: Bucket, tmp_path: Path, waits: Waits) -> None:
    bucket.trouble = once(RANGE, Trouble(headers={"x-goog-generation": "9"}))
    assert fetch(want(GS, tmp_path), patience=waits.patience()).path.read_bytes() == LARGE
    assert waits == [1.0]


def test_wrong_digest_keeps_nothing(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"should be {'0' * 64}, got {DIGEST}"):
        fetch(want(GS, tmp_path, pin="0" * 64))
    assert files(tmp_path) == set()


def test_another_range_than_asked_for_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    bucket.trouble = once(RANGE, Trouble(shift=1))
    with pytest.raises(NetworkError, match="sent another range than it was asked for"):
        fetch(want(GS, tmp_path))
    assert "m.gguf" not in files(tmp_path)


def test_compressed_range_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    bucket.trouble = once(RANGE, Trouble(headers={"content-encoding": "gzip"}))
    with pytest.raises(NetworkError, match="gzip coding"):
        fetch(want(GS, tmp_path))
    assert "m.gguf" not in files(tmp_path)


def test_server_without_ranges_sends_one_stream(bucket: Bucket, tmp_path: Path) -> None:
    bucket.ranges = False
    assert fetch(want(GS, tmp_path)).sha256 == DIGEST
    assert len(bucket.seen) == 2


def test_server_that_stops_taking_ranges_sends_one_stream(bucket: Bucket, tmp_path: Path) -> None:
    wish = want(GS, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch(wish, report=interrupted_at(12 << 20))
    bucket.ranges = False
    assert fetch(wish).path.read_bytes() == LARGE


def test_token_that_is_no_longer_taken_ends_the_fetch(bucket: Bucket, tmp_path: Path, waits: Waits) -> None:
    bucket.trouble = once(FIRSTS[1], Trouble(status=401))
    with pytest.raises(NetworkError, match="answered 401: access denied; set GOOGLE_OAUTH_ACCESS_TOKEN") as caught:
        fetch(want(GS, tmp_path), patience=waits.patience())
    assert (waits, "s3cret" in str(caught.value)) == ([], False)
    assert "m.gguf" not in files(tmp_path)


def test_object_larger_than_the_disk_is_refused_before_it_is_sent(bucket: Bucket, tmp_path: Path) -> None:
    bucket.trouble = once(-1, Trouble(headers={"content-range": f"bytes 0-0/{2**60}"}))
    with pytest.raises(WeightsError, match="not enough space: 1048576TiB to download"):
        fetch(want(GS, tmp_path))
    assert bucket.asked() == []

"""The folder of snapshots: shared by processes, bounded, and never with half a file in it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from relight.clock import ManualClock
from relight.errors import ConfigError, SnapshotError
from relight.prefixes import cipher, snapshot
from relight.prefixes.snapshot import verify
from relight.prefixes.store import Entry, Store, value
from relight.values import Secret
from tests.prefixes.samples import GROUND, about, digest, payload

KEY = Secret("RELIGHT_PREFIX_KEY", "0f" * 32)
DAY_S = 86_400.0
OTHER_GROUND = digest("another engine")
BOTH = pytest.mark.parametrize("secret", [None, KEY], ids=["plain", "encrypted"])


class Notes(list[str]):
    """What was noted."""

    def __call__(self, text: str) -> None:
        self.append(text)


class Place:
    """A store, and a folder where an engine leaves and finds its files."""

    def __init__(self, folder: Path, *, max_bytes: int | None = None, secret: Secret | None = None) -> None:
        self.run = folder / "run"
        self.run.mkdir(mode=0o700)
        self.folder = folder / "deep" / "prefixes"
        self.notes = Notes()
        self.clock = ManualClock()
        self.store = self.another(max_bytes=max_bytes, secret=secret)

    def another(self, *, max_bytes: int | None = None, secret: Secret | None = None) -> Store:
        """As another process would open it."""
        return Store(self.folder, max_bytes=max_bytes, secret=secret, note=self.notes, clock=self.clock)

    def add(self, name: str, *, data: bytes = b"GGSQ" * 250, ground: str = GROUND, prefill_s: float = 2.0) -> Entry:
        """Add a snapshot that was last used now, by the clock of the test."""
        made = about(name, ground=ground, prefill_s=prefill_s)
        entry = self.store.add(payload(self.run / "made.bin", data), made)
        now = self.clock.wall()
        os.utime(entry.path, (now, now))
        return entry

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.clock._now += seconds

    def names(self) -> list[str]:
        """The labels of what is kept, as a new process sees it."""
        return [entry.manifest.label for entry in self.store.all()]

    def files(self) -> list[str]:
        """Every file below the folder."""
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


# --- what it is for


@BOTH
def test_what_was_added_is_found_and_given_to_an_engine(tmp_path: Path, secret: Secret | None) -> None:
    place = Place(tmp_path, secret=secret)
    entry = place.add("one", data=b"GGSQ state")
    assert place.another(secret=secret).entries(GROUND) == {digest("one"): entry}
    assert not (place.run / "made.bin").exists()
    file = place.store.open_for_engine(entry, place.run)
    assert file.parent == place.run
    assert file.suffix == ".bin"
    assert not set(file.stem) - set("0123456789abcdef")
    assert file.read_bytes().startswith(b"GGSQ state")
    assert verify(file) == entry.manifest
    assert file.is_symlink() == (secret is None)
    assert file.stat().st_mode & 0o777 == 0o600


def test_layout_and_permissions(place: Place) -> None:
    entry = place.add("one")
    assert entry.path == place.folder / GROUND[:16] / f"{digest('one')[:32]}.snapshot"
    assert [path.stat().st_mode & 0o777 for path in (entry.path, entry.path.parent, place.folder)] == [0o600, 0o700, 0o700]


def test_engine_finds_the_file_of_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(Path("prefixes"))
    entry = store.add(payload(tmp_path / "made.bin"), about())
    (tmp_path / "run").mkdir()
    file = store.open_for_engine(entry, Path("run"))
    monkeypatch.chdir("/")
    assert verify(tmp_path / file) == entry.manifest


def test_entries_are_those_of_the_ground_alone(place: Place) -> None:
    one, two = place.add("one"), place.add("two", ground=OTHER_GROUND)
    assert place.store.entries(GROUND) == {digest("one"): one}
    assert place.store.entries(OTHER_GROUND) == {digest("two"): two}
    assert place.store.entries(digest("third")) == {}
    # The first digits of a digest name the folder; the rest of it counts as well.
    assert place.store.entries(GROUND[:63] + "g") == {}
    assert set(place.names()) == {"one", "two"}


def test_adding_again_replaces(place: Place) -> None:
    place.add("one", data=b"first")
    entry = place.add("one", data=b"second")
    assert place.store.all() == [entry]
    assert entry.path.read_bytes().startswith(b"second")


def test_two_openings_of_one_snapshot_do_not_meet(place: Place) -> None:
    entry = place.add("one")
    assert place.store.open_for_engine(entry, place.run) != place.store.open_for_engine(entry, place.run)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")  # noqa: S108
def test_payload_from_another_file_system_is_copied(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm") / f"relight-{os.getpid()}.bin"  # noqa: S108
    if elsewhere.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("both are one file system")
    store = Store(tmp_path / "prefixes")
    entry = store.add(payload(elsewhere), about())
    assert not elsewhere.exists()
    assert verify(entry.path) == entry.manifest
    assert entry.path.stat().st_mode & 0o777 == 0o600


def test_removed_is_gone_and_may_be_gone_before(place: Place) -> None:
    entry = place.add("one")
    place.store.remove(entry)
    place.store.remove(entry)
    assert place.store.all() == []


# --- what is not sound


def test_snapshots_of_an_image_are_read_beside_those_of_the_folder_and_never_removed(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    image, place = Place(tmp_path / "image"), Place(tmp_path)
    baked = image.add("baked", prefill_s=0.001)
    image.add("both")
    here = place.add("both")
    store = Store(place.folder, baked=image.folder, max_bytes=2 * here.path.stat().st_size, note=place.notes)
    assert set(store.entries(GROUND)) == {digest("baked"), digest("both")}
    assert store.entries(GROUND)[digest("both")].path == here.path
    assert store.open_for_engine(store.entries(GROUND)[digest("baked")], place.run).exists()
    with pytest.raises(SnapshotError, match="came with the image"):
        store.remove(baked)
    # What came with the image takes no space of the others, and does not go for them.
    store.add(payload(place.run / "made.bin", b"GGSQ" * 250), about("more"))
    assert baked.path.exists()
    assert {entry.manifest.label for entry in store.all()} == {"baked", "both", "more"}


def test_missing_folder_holds_nothing(place: Place) -> None:
    assert (place.store.entries(GROUND), place.store.all(), place.notes) == ({}, [], [])


def test_folder_that_is_a_file_is_told_once_and_refuses(place: Place) -> None:
    place.folder.parent.mkdir()
    place.folder.write_text("not a folder")
    assert (place.store.entries(GROUND), place.store.all(), place.store.all()) == ({}, [], [])
    assert [note for note in place.notes if note.startswith(f"{place.folder}: ")] == [
        f"{place.folder}: cannot be listed: Not a directory"
    ]
    with pytest.raises(SnapshotError) as caught:
        place.add("one")
    assert str(place.folder) in caught.value.message
    assert caught.value.hint
    assert list(place.run.iterdir()) == []


@BOTH
def test_damaged_file_is_left_out_and_told_once(tmp_path: Path, secret: Secret | None) -> None:
    place = Place(tmp_path, secret=secret)
    good, bad = place.add("good"), place.add("bad")
    bad.path.write_bytes(bad.path.read_bytes()[:-1])
    assert place.store.entries(GROUND) == {digest("good"): good}
    assert place.store.all() == [good]
    assert len(place.notes) == 1
    assert str(bad.path) in place.notes[0]
    assert "delete it" in place.notes[0]


def test_foreign_files_are_left_out_and_told_once(place: Place) -> None:
    folder = place.add("one").path.parent
    (folder / "README").write_text("hello")
    (folder / ("0" * 32 + ".snapshot")).mkdir()
    (folder / ("1" * 32 + ".snapshot")).write_bytes(b"")
    (folder / "half.part").write_bytes(b"half")
    (place.folder / "lost+found").mkdir()
    for _ in range(3):
        assert list(place.store.entries(GROUND)) == [digest("one")]
        assert place.names() == ["one"]
    assert len(place.notes) == 3


def test_file_under_the_name_of_another_is_left_out(place: Place) -> None:
    entry = place.add("one")
    entry.path.rename(entry.path.with_name("0" * 32 + ".snapshot"))
    assert place.store.entries(GROUND) == {}
    assert "under the name of another" in place.notes[0]


def test_file_that_was_exchanged_for_another_is_not_opened(place: Place) -> None:
    one, two = place.add("one"), place.add("two")
    two.path.replace(one.path)
    with pytest.raises(SnapshotError, match="under the name of another"):
        place.store.open_for_engine(one, place.run)
    assert list(place.run.iterdir()) == []


def test_plain_and_encrypted_are_not_mixed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.add("plain")
    assert place.another(secret=KEY).entries(GROUND) == {}
    place.another(secret=KEY).add(payload(place.run / "made.bin"), about("encrypted"))
    assert place.names() == ["plain"]
    assert "not encrypted" in place.notes[0]
    assert "there is no secret; set prefixes.key" in place.notes[1]


def test_wrong_secret_finds_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, secret=KEY)
    place.add("one")
    assert place.another(secret=Secret("RELIGHT_PREFIX_KEY", "wrong")).entries(GROUND) == {}
    assert "another secret" in place.notes[0]


def test_secret_that_is_empty_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        Store(tmp_path, secret=Secret("RELIGHT_PREFIX_KEY", ""))


@BOTH
def test_flipped_byte_is_noticed_before_an_engine_sees_it(tmp_path: Path, secret: Secret | None) -> None:
    place = Place(tmp_path, secret=secret)
    entry = place.add("one")
    # Inside the payload, or the one segment: the listing cannot know.
    flip(entry.path, 10 if secret is None else -100)
    assert place.store.entries(GROUND) == {digest("one"): entry}
    with pytest.raises(SnapshotError, match="damaged"):
        place.store.open_for_engine(entry, place.run)
    assert list(place.run.iterdir()) == []
    assert place.store.entries(GROUND) == {}
    place.add("one")
    assert list(place.store.entries(GROUND)) == [digest("one")]


def test_entry_that_is_gone_is_a_snapshot_error(place: Place) -> None:
    entry = place.add("one")
    entry.path.unlink()
    with pytest.raises(SnapshotError, match="No such file"):
        place.store.open_for_engine(entry, place.run)
    place.store.used(entry)


@BOTH
def test_run_folder_that_cannot_be_used_does_not_condemn_the_snapshot(tmp_path: Path, secret: Secret | None) -> None:
    place = Place(tmp_path, secret=secret)
    entry = place.add("one")
    with pytest.raises(SnapshotError, match="No such file"):
        place.store.open_for_engine(entry, tmp_path / "nowhere")
    assert place.store.all() == [entry]


# --- room


def test_value_is_saved_time_per_byte_and_grows_with_use(place: Place) -> None:
    manifest = place.add("one", prefill_s=4.0).manifest
    assert value(manifest, 1000, 0) == pytest.approx(0.004)
    assert value(manifest, 1000, 2) == pytest.approx(0.012)
    assert value(manifest, 2000, 2) == pytest.approx(0.006)


@pytest.fixture
def small(tmp_path: Path) -> Place:
    """Has space for two snapshots of a thousand bytes, but not for three."""
    return Place(tmp_path, max_bytes=3500)


def test_least_worth_goes_first(small: Place) -> None:
    small.add("slow", prefill_s=9.0)
    small.add("quick", prefill_s=1.0)
    small.add("newest", prefill_s=5.0)
    assert small.names() == ["newest", "slow"]


def test_larger_is_worth_less_for_the_same_time(small: Place) -> None:
    small.add("large", data=bytes(1500))
    small.add("small", data=bytes(200))
    small.add("newest", data=bytes(800))
    assert small.names() == ["newest", "small"]


def test_used_one_stays_and_use_is_forgotten_in_time(small: Place) -> None:
    used = small.add("used", prefill_s=2.0)
    small.add("unused", prefill_s=3.0)
    for _ in range(3):
        small.store.used(used)
    small.add("newest", prefill_s=20.0)
    assert small.names() == ["newest", "used"]
    # Three uses have become next to none ten days later.
    small.later(10 * DAY_S)
    small.add("latest", prefill_s=3.0)
    assert small.names() == ["latest", "newest"]


def test_of_equals_the_longest_unused_goes(small: Place) -> None:
    # Names of one length: the label is part of the size.
    small.add("one")
    small.later(60)
    small.add("two")
    small.later(60)
    small.add("six")
    assert small.names() == ["six", "two"]


def test_what_another_process_used_counts_as_used(small: Place) -> None:
    one = small.add("one")
    small.later(60)
    small.add("two")
    small.later(60)
    small.another().used(one)
    small.add("six")
    assert small.names() == ["one", "six"]


def test_unused_for_a_month_weighs_a_tenth(small: Place) -> None:
    small.add("old", prefill_s=9.0)
    small.later(31 * DAY_S)
    small.add("young", prefill_s=1.0)
    small.add("newest", prefill_s=1.0)
    assert small.names() == ["newest", "young"]


def test_newest_that_is_worth_least_is_the_one_to_go(small: Place) -> None:
    small.add("one", prefill_s=9.0)
    small.add("two", prefill_s=8.0)
    with pytest.raises(SnapshotError, match="worth less than what is there") as caught:
        small.add("newest", prefill_s=1.0)
    assert caught.value.hint == "raise prefixes.max_size"
    assert small.names() == ["one", "two"]
    assert list(small.run.iterdir()) == []


def test_nothing_else_goes_for_a_newest_that_does_not_stay(small: Place) -> None:
    small.add("cheap", prefill_s=0.1)
    small.add("dear", prefill_s=90.0)
    with pytest.raises(SnapshotError, match="worth less"):
        small.add("large", data=bytes(2800), prefill_s=1.0)
    assert small.names() == ["cheap", "dear"]


def test_all_grounds_share_the_space(small: Place) -> None:
    small.add("one", ground=OTHER_GROUND, prefill_s=1.0)
    small.add("two", prefill_s=2.0)
    small.add("three", prefill_s=2.0)
    assert sorted(small.names()) == ["three", "two"]


def test_damaged_files_go_before_sound_ones(small: Place) -> None:
    small.add("sound", prefill_s=0.1)
    damaged = small.add("damaged", prefill_s=9.0)
    flip(damaged.path, -1)
    small.add("newest", prefill_s=0.2)
    assert small.names() == ["newest", "sound"]
    assert not damaged.path.exists()


@BOTH
def test_larger_than_everything_may_be_is_refused_and_nothing_goes(tmp_path: Path, secret: Secret | None) -> None:
    place = Place(tmp_path, max_bytes=3500, secret=secret)
    place.add("one")
    # Of the second, only what stands around the payload is too much.
    for size in (4000, 3400):
        with pytest.raises(SnapshotError, match="more than all snapshots may take"):
            place.add("large", data=bytes(size))
    assert place.names() == ["one"]
    assert len(place.files()) == 1
    assert list(place.run.iterdir()) == []


# --- nothing half-written


def test_abandoned_parts_are_swept_and_young_ones_left(place: Place) -> None:
    folder = place.add("one", ground=OTHER_GROUND).path.parent
    now = place.clock.wall()
    for name, age_s in (("old.part", 3700), ("young.part", 3500)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (now - age_s, now - age_s))
    place.add("two")
    assert [name for name in place.files() if name.endswith(".part")] == ["young.part"]


def run_limited(folder: Path, *, secret: bool, limit: int, size: int, on_limit: str = "") -> str:
    """What `add` raises in a process whose files may not grow over `limit` bytes, which is how a full disk behaves."""
    payload(folder / "made.bin", bytes(size))
    code = f"""
import resource, signal
from pathlib import Path
from relight.errors import SnapshotError
from relight.prefixes.store import Store
from relight.values import Secret
from tests.prefixes.samples import about
def stop(*_):
    raise KeyboardInterrupt
{on_limit}
store = Store(Path({str(folder / "prefixes")!r}), secret=Secret("KEY", "k") if {secret} else None)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    store.add(Path({str(folder / "made.bin")!r}), about())
except (SnapshotError, KeyboardInterrupt) as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def left(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_full_disk_while_sealing_leaves_nothing(tmp_path: Path) -> None:
    said = run_limited(tmp_path, secret=False, limit=5000, size=5000)
    assert said.startswith("SnapshotError")
    assert "File too large" in said
    assert left(tmp_path) == []


def test_full_disk_while_encrypting_leaves_nothing(tmp_path: Path) -> None:
    # The sealed file just fits; what encryption adds does not.
    said = run_limited(tmp_path, secret=True, limit=(16 << 20) + 500, size=16 << 20)
    assert said.startswith("SnapshotError")
    assert ".part: cannot be read or written: File too large; see that" in said
    assert left(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")  # noqa: S108
def test_full_disk_while_copying_leaves_nothing(tmp_path: Path) -> None:
    elsewhere = payload(Path("/dev/shm") / f"relight-{os.getpid()}.bin", bytes(1 << 20))  # noqa: S108
    sealed = snapshot.seal(elsewhere, about())
    try:
        code = f"""
import resource
from pathlib import Path
from relight.prefixes import store
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    store._move(Path({str(elsewhere)!r}), Path({str(tmp_path / "x.part")!r}))
except OSError as error:
    print(error.strerror)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        if elsewhere.parent.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("both are one file system")
        assert done.stdout.strip() == "File too large"
        assert left(tmp_path) == []
        assert verify(elsewhere) == sealed
    finally:
        elsewhere.unlink(missing_ok=True)


@pytest.mark.parametrize("secret", [False, True])
def test_interrupted_in_the_middle_of_a_write_leaves_nothing(tmp_path: Path, secret: bool) -> None:
    # The kernel's signal for the limit stands for Ctrl-C, and comes at the same byte in each run.
    limit = (16 << 20) + 500 if secret else 5000
    size = 16 << 20 if secret else 5000
    said = run_limited(tmp_path, secret=secret, limit=limit, size=size, on_limit="signal.signal(signal.SIGXFSZ, stop)")
    assert said.startswith("KeyboardInterrupt")
    assert left(tmp_path) == []


def test_read_only_folder_is_read_and_refuses_to_add(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    import tempfile

    # Root may write anywhere, so the child becomes nobody; it must be able to come to the folder, which pytest's own forbid.
    with tempfile.TemporaryDirectory() as base:
        folder, run = Path(base, "prefixes"), Path(base, "run")
        run.mkdir()
        Store(folder).add(payload(run / "made.bin"), about())
        payload(run / "new.bin")
        if os.getuid() == 0:
            for path in (Path(base), run, folder, *folder.rglob("*"), *run.iterdir()):
                os.chown(path, 65534, 65534)
        for path in (folder, *folder.iterdir()):
            path.chmod(0o500)
        code = f"""
import os
from pathlib import Path
from relight.errors import SnapshotError
from relight.prefixes.store import Store
from tests.prefixes.samples import GROUND, about
if os.getuid() == 0:
    os.setuid(65534)
store = Store(Path({str(folder)!r}), note=print)
entries = store.entries(GROUND)
print(len(entries))
for entry in entries.values():
    store.used(entry)
    print(store.open_for_engine(entry, Path({str(run)!r})).is_symlink())
    try:
        store.remove(entry)
    except SnapshotError as error:
        print(error)
try:
    store.add(Path({str(run / "new.bin")!r}), about("two"))
except SnapshotError as error:
    print(error)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        for path in (folder, *folder.iterdir()):
            path.chmod(0o700)
        assert done.returncode == 0, done.stderr
        count, opened, removed, added = done.stdout.splitlines()
        assert (count, opened) == ("1", "True")
        assert "cannot be removed: Permission denied; see who owns its folder" in removed
        assert str(folder) in added
        assert "a snapshot cannot be kept: Permission denied; see that" in added
        assert not (run / "new.bin").exists()
        assert len(left(folder)) == 1


# --- several processes


def _add_many(start: Barrier, folder: Path, run: Path, names: list[str], secret: Secret | None) -> None:
    store = Store(folder, secret=secret)
    start.wait(60)
    for name in names:
        store.add(payload(run / "made.bin", name.encode() * 20_000), about(name))


def in_processes(act: Callable[..., None], *arguments: tuple[object, ...]) -> list[int | None]:
    """The exit codes of a process for each of the arguments, all of which begin at once."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(arguments))
    processes = [context.Process(target=act, args=(start, *own)) for own in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    return [process.exitcode for process in processes]


@BOTH
def test_processes_that_add_at_once_leave_valid_files(tmp_path: Path, secret: Secret | None) -> None:
    folder = tmp_path / "prefixes"
    runs = [tmp_path / "run-1", tmp_path / "run-2"]
    for run in runs:
        run.mkdir()
    names = ["same", "one", "same", "same", "two", "same"]
    own = [[*names, "mine"], [*names, "yours"]]
    arguments = [(folder, run, wanted, None if secret is None else KEY) for run, wanted in zip(runs, own, strict=True)]
    assert in_processes(_add_many, *arguments) == [0, 0]
    notes = Notes()
    store = Store(folder, secret=secret, note=notes)
    entries = store.entries(GROUND)
    assert set(entries) == {digest(name) for name in ("same", "one", "two", "mine", "yours")}
    assert notes == []
    assert len(left(tmp_path)) == 5
    for entry in entries.values():
        assert verify(store.open_for_engine(entry, runs[0])) == entry.manifest


def _add_bounded(start: Barrier, folder: Path, run: Path, name: str) -> None:
    store = Store(folder, max_bytes=30_000)
    start.wait(60)
    for turn in range(30):
        try:
            store.add(payload(run / "made.bin", bytes(9_000)), about(f"{name}-{turn}", prefill_s=1.0 + turn))
        except SnapshotError as error:
            if "worth less" not in error.message:
                raise


def test_processes_that_make_room_at_once_stay_within_the_bound(tmp_path: Path) -> None:
    folder = tmp_path / "prefixes"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert in_processes(_add_bounded, *((folder, tmp_path / name, name) for name in ("a", "b"))) == [0, 0]
    kept = Store(folder, max_bytes=30_000).all()
    assert 1 <= len(kept) <= 3
    assert sum(entry.path.stat().st_size for entry in kept) <= 30_000
    assert len(left(tmp_path)) == len(kept)


def test_machine_clock_is_the_default(tmp_path: Path) -> None:
    store = Store(tmp_path / "prefixes")
    entry = store.add(payload(tmp_path / "made.bin"), about())
    os.utime(entry.path, (0, 0))
    before = time.time()
    store.used(entry)
    assert before - 1 <= entry.path.stat().st_mtime <= time.time() + 1


def test_size_of_an_encrypted_file_is_what_was_reckoned(tmp_path: Path) -> None:
    place = Place(tmp_path, secret=KEY)
    entry = place.add("one")
    file = place.store.open_for_engine(entry, place.run)
    assert entry.path.stat().st_size == cipher.encrypted_size(entry.manifest, file.stat().st_size)

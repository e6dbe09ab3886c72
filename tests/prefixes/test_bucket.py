"""The folder of snapshots on a mounted bucket, two instances of the service with a mount each. A real file system, by FUSE."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from relight.errors import SnapshotError
from relight.prefixes.snapshot import verify
from relight.prefixes.store import Entry, Store
from relight.values import Secret
from tests.prefixes.samples import GROUND, about, digest, payload
from tests.prefixes.test_store import BOTH, KEY, Notes, _add_bounded, _add_many, in_processes
from tests.serve.process import PATIENCE_S

pytestmark = pytest.mark.real

_FORGET = ".forget"


@contextmanager
def mounted(objects: Path, mount: Path) -> Iterator[Path]:
    """The bucket as one instance sees it."""
    mount.mkdir()
    command = [sys.executable, str(Path(__file__).with_name("bucket.py")), str(objects), str(mount)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + PATIENCE_S
        while not os.path.ismount(mount):
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
            if process.returncode is not None or time.monotonic() > end:
                process.kill()
                assert process.stderr is not None
                pytest.skip(f"nothing can be mounted here: {process.stderr.read().decode()[-200:]}")
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=False, capture_output=True)
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[list[Path]]:
    pytest.importorskip("mfusepy", exc_type=ImportError)
    if not Path("/dev/fuse").exists() or shutil.which("umount") is None:
        pytest.skip("there is no FUSE here")
    (tmp_path / "objects").mkdir()
    with (
        mounted(tmp_path / "objects", tmp_path / "one") as one,
        mounted(tmp_path / "objects", tmp_path / "two") as two,
    ):
        yield [one, two]


class Instance:
    """One instance's store, and a folder of its own where its engine leaves files."""

    def __init__(self, mount: Path, run: Path, secret: Secret | None = None) -> None:
        run.mkdir()
        self.mount, self.run, self.notes = mount, run, Notes()
        self.store = Store(mount / "prefixes", secret=secret, note=self.notes)

    def add(self, name: str, data: bytes = b"GGSQ" * 250) -> Entry:
        return self.store.add(payload(self.run / "made.bin", data), about(name))

    def names(self) -> set[str]:
        return {entry.manifest.label for entry in self.store.entries(GROUND).values()}

    def forget(self) -> None:
        """What the mount remembers grows old."""
        assert not (self.mount / _FORGET).exists()


@pytest.fixture
def both(mounts: list[Path], tmp_path: Path) -> list[Instance]:
    return [Instance(mount, tmp_path / f"run{number}") for number, mount in enumerate(mounts)]


def test_bucket_is_as_hard_as_it_is_meant_to_be(mounts: list[Path]) -> None:
    """Else the others would prove nothing."""
    one, two = mounts
    (one / "file").write_bytes(b"whole")
    with pytest.raises(PermissionError):
        (one / "file").chmod(0o600)
    with pytest.raises(PermissionError):
        (one / "link").hardlink_to(one / "file")
    with (one / "file").open("rb") as opened, pytest.raises(OSError) as caught:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert caught.value.errno == errno.ENOLCK
    os.utime(one / "file", (1_700_000_000.9, 1_700_000_000.9))
    assert (one / "file").stat().st_mtime == 1_700_000_000
    assert [file.name for file in two.iterdir()] == ["file"]
    (one / "second").write_bytes(b"new")
    assert [file.name for file in two.iterdir()] == ["file"]  # remembered
    with (one / "open").open("wb") as opened:
        opened.write(b"a lot")
        opened.flush()
        assert (two / "open").read_bytes() == b""  # not sent before its end


@BOTH
def test_what_one_instance_saved_serves_the_other(mounts: list[Path], tmp_path: Path, secret: Secret | None) -> None:
    one, two = (Instance(mount, tmp_path / f"run{number}", secret) for number, mount in enumerate(mounts))
    entry = one.add("one", b"GGSQ state")
    (found,) = two.store.entries(GROUND).values()
    assert found.manifest == entry.manifest
    file = two.store.open_for_engine(found, two.run)
    assert file.read_bytes().startswith(b"GGSQ state")
    assert verify(file) == entry.manifest
    two.store.used(found)
    assert (one.notes, two.notes) == ([], [])
    assert not list((tmp_path / "objects").rglob("*.part"))


@BOTH
def test_instances_that_write_at_once_lose_nothing(mounts: list[Path], tmp_path: Path, secret: Secret | None) -> None:
    runs = [tmp_path / f"run{number}" for number in range(2)]
    for run in runs:
        run.mkdir()
    names = (["same", "one", "mine"], ["same", "two", "yours"])
    arguments = [(mount / "prefixes", run, own, secret) for mount, run, own in zip(mounts, runs, names, strict=True)]
    assert in_processes(_add_many, *arguments) == [0, 0]
    notes = Notes()
    for mount in mounts:
        assert not (mount / _FORGET).exists()
        store = Store(mount / "prefixes", secret=secret, note=notes)
        entries = store.entries(GROUND)
        assert set(entries) == {digest(name) for name in ("same", "one", "two", "mine", "yours")}
        for entry in entries.values():
            assert verify(store.open_for_engine(entry, runs[0])) == entry.manifest
    assert notes == []
    assert not list((tmp_path / "objects").rglob("*.part"))


def test_instances_that_make_room_at_once_leave_whole_files(mounts: list[Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    arguments = [(mount / "prefixes", tmp_path / name, name) for mount, name in zip(mounts, ("a", "b"), strict=True)]
    assert in_processes(_add_bounded, *arguments) == [0, 0]
    notes = Notes()
    assert not (mounts[0] / _FORGET).exists()
    kept = Store(mounts[0] / "prefixes", note=notes).all()
    assert kept
    assert notes == []
    assert all(verify(entry.path) == entry.manifest for entry in kept)


def test_old_listing_costs_what_is_new_and_nothing_else(both: list[Instance]) -> None:
    one, two = both
    one.add("one")
    assert two.names() == {"one"}
    one.add("two")
    assert two.names() <= {"one", "two"}
    two.add("three")  # it writes into a folder of which it knows only the half
    two.forget()
    one.forget()
    assert one.names() == two.names() == {"one", "two", "three"}
    assert (one.notes, two.notes) == ([], [])


def test_snapshot_that_the_other_removed_is_gone_with_a_word_and_no_more(both: list[Instance]) -> None:
    one, two = both
    entry = one.add("one")
    (seen,) = two.store.entries(GROUND).values()
    one.store.remove(entry)
    with pytest.raises(SnapshotError):
        two.store.open_for_engine(seen, two.run)
    assert list(two.run.iterdir()) == []
    assert two.names() == set()  # the listing still has it
    two.forget()
    assert two.names() == set()
    assert two.notes == []


def test_snapshot_that_the_other_made_anew_is_the_old_or_the_new_one(both: list[Instance]) -> None:
    one, two = both
    one.add("one", b"GGSQ" * 5000)
    (seen,) = two.store.entries(GROUND).values()
    one.add("one", b"GGSR" * 7000)
    try:
        data = two.store.open_for_engine(seen, two.run).read_bytes()
    except SnapshotError:
        pass  # what it remembers of the file is no longer so: a prefill, and no more
    else:
        assert data.startswith((b"GGSQ" * 5000, b"GGSR" * 7000))
    two.forget()
    (now,) = two.store.entries(GROUND).values()
    assert two.store.open_for_engine(now, two.run).read_bytes().startswith(b"GGSR" * 7000)


def test_encrypted_bucket_shows_nothing_of_what_it_holds(mounts: list[Path], tmp_path: Path) -> None:
    Instance(mounts[0], tmp_path / "run0", KEY).add("a label", b"GGSQ somebody's words")
    told = b"".join(path.read_bytes() for path in (tmp_path / "objects").rglob("*") if path.is_file())
    assert told
    assert b"somebody" not in told
    assert b"a label" not in told

"""What is here, what counts as checked, and who downloads when two want the same."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from relight.config.schema import Model
from relight.errors import RelightError, WeightsError
from relight.weights import store
from relight.weights.fetch import State, Weights, fetch, locate, require, state, verify, wanted
from relight.weights.progress import Phase, Update, silent
from tests.weights.files import gguf, sha256
from tests.weights.server import FileServer
from tests.weights.setting import BIG, files, want


def test_two_that_want_the_same_file_download_it_once(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"], server.gate = BIG, threading.Event()
    done: list[Weights] = []
    waiting: list[str] = []

    def report(update: Update) -> None:
        if update.note:
            waiting.append(update.note)
            server.gate.set()  # type: ignore[union-attr]

    threads = [
        threading.Thread(target=lambda: done.append(fetch(want(f"{server.url}/m.gguf", tmp_path), report=report))) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(weights.fetched for weights in done) == [False, True]
    assert len(server.seen) == 1
    assert "another process" in waiting[0]
    assert files(tmp_path) == {"m.gguf", "m.gguf.json"}


def test_lock_that_was_waited_for_keeps_the_next_one_out(tmp_path: Path) -> None:
    b_waits, b_in, b_may_go, c_waits = (threading.Event() for _ in range(4))

    def second() -> None:
        with store.locked(tmp_path / "m.gguf", lambda _: b_waits.set()):
            b_in.set()
            b_may_go.wait(30)

    def third() -> None:
        def report(_: Update) -> None:
            c_waits.set()
            b_may_go.set()

        with store.locked(tmp_path / "m.gguf", report):
            b_may_go.set()

    threads = [threading.Thread(target=second), threading.Thread(target=third)]
    with store.locked(tmp_path / "m.gguf", silent):
        threads[0].start()
        assert b_waits.wait(30)
    assert b_in.wait(30)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    assert c_waits.is_set()
    assert files(tmp_path) == set()


def test_verify_finds_a_changed_byte_and_the_next_pull_replaces_it(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = BIG
    wish = want(f"{server.url}/m.gguf", tmp_path)
    path = fetch(wish).path
    assert verify(wish).sha256 == sha256(BIG)
    damaged = bytearray(BIG)
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match=f"should be {sha256(BIG)}, got {sha256(bytes(damaged))}"):
        verify(wish)
    assert state(wish) is State.CHANGED
    assert fetch(wish).fetched
    assert path.read_bytes() == BIG


def test_file_of_another_size_is_not_served(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = BIG
    model = Model(source=f"{server.url}/m.gguf")
    path = fetch(wanted("smol", model, tmp_path, "store")).path
    path.write_bytes(BIG + b"more")
    assert locate("smol", model, tmp_path, "store") is None
    with pytest.raises(WeightsError, match=r"not those that were checked.*; run: relight models pull smol"):
        require("smol", model, tmp_path, "store")


def test_copied_store_is_checked_once_and_not_downloaded_again(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = BIG
    wish = want(f"{server.url}/m.gguf", tmp_path)
    path = fetch(wish).path
    path.touch()
    assert state(wish) is State.DOWNLOADED
    phases: list[Phase] = []
    assert not fetch(wish, report=lambda update: phases.append(update.phase)).fetched
    assert set(phases) == {Phase.HASH}
    assert not fetch(wish, report=lambda update: pytest.fail("checked twice")).fetched
    assert len(server.seen) == 1


def test_new_pin_makes_the_old_file_one_to_replace(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = gguf()
    fetch(want(f"{server.url}/m.gguf", tmp_path))
    server.files["/m.gguf"] = BIG
    pinned = want(f"{server.url}/m.gguf", tmp_path, pin=sha256(BIG))
    assert state(pinned) is State.CHANGED
    assert fetch(pinned).path.read_bytes() == BIG


@pytest.mark.parametrize(
    "source", ["http://127.0.0.1:1/m.gguf", "hf:o/r/m.gguf", "pypi:p/m.gguf", "ollama:m", "gs://bucket/m.gguf"]
)
def test_missing_weights_say_what_to_run(tmp_path: Path, source: str) -> None:
    with pytest.raises(WeightsError) as caught:
        require("smol", Model(source=source), tmp_path, tmp_path / "store")
    assert str(caught.value) == 'model "smol": not downloaded; run: relight models pull smol'
    with pytest.raises(WeightsError, match="nothing to verify"):
        verify(want(source, tmp_path))


def test_own_file_is_used_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(BIG)
    model = Model(source="file:m.gguf")
    assert require("smol", model, tmp_path, "store") == tmp_path / "m.gguf"
    wish = wanted("smol", model, tmp_path, "store")
    assert fetch(wish).sha256 == sha256(BIG)
    assert {path.name for path in tmp_path.iterdir()} == {"m.gguf", "store"}


def test_own_file_with_a_pin_is_used_only_once_it_was_checked(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(BIG)
    model = Model(source="file:m.gguf", sha256=sha256(BIG))
    with pytest.raises(WeightsError, match=r"not checked against models\.smol\.sha256 yet; run: relight models pull smol"):
        require("smol", model, tmp_path, "store")
    fetch(wanted("smol", model, tmp_path, "store"))
    assert require("smol", model, tmp_path, "store") == tmp_path / "m.gguf"

    wrong = wanted("smol", Model(source="file:m.gguf", sha256="3" * 64), tmp_path, "store")
    with pytest.raises(WeightsError, match=f"sha256 is {sha256(BIG)}, and should be {'3' * 64}; check models"):
        fetch(wrong)
    assert (tmp_path / "m.gguf").exists()


def test_wrong_digest_in_one_configuration_leaves_the_weights_to_the_others(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = BIG
    right = want(f"{server.url}/m.gguf", tmp_path)
    fetch(right)
    with pytest.raises(WeightsError, match=r"is whole, as it was checked before"):
        verify(replace(right, sha256="3" * 64))
    assert state(right) is State.DOWNLOADED


def test_own_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    model = Model(source="file:gone.gguf")
    for act in (lambda: require("smol", model, tmp_path, "store"), lambda: fetch(wanted("smol", model, tmp_path, "store"))):
        with pytest.raises(WeightsError, match=r"there is no file .*gone\.gguf; check models\.smol\.source"):
            act()


def test_address_without_a_file_names_the_model_whose_source_to_check(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(RelightError, match=r"there is no such file; check the spelling of models\.\w+\.source") as caught:
        fetch(want(f"{server.url}/gone.gguf", tmp_path))
    assert "models.NAME" not in str(caught.value)


def test_places_in_the_store_never_collide(tmp_path: Path) -> None:
    sources = [
        "hf:o/r/m.gguf", "hf:o/r/m.gguf@v1", "hf:o/r/a/m.gguf", "hf:o/r/m.gguf@a/b", "pypi:o/m.gguf", "pypi:o==1/m.gguf",
        "ollama:m", "ollama:m:x", "gs://bucket/m.gguf", "https://h.org/m.gguf", "https://h.org/m.gguf?v=1", "https://h.org:1/m.gguf",
    ]  # fmt: skip
    places = {want(source, tmp_path).path for source in sources}
    assert len(places) == len(sources)
    assert all(place.is_relative_to(tmp_path / "store") for place in places)


def test_unreadable_record_counts_as_none(server: FileServer, tmp_path: Path) -> None:
    server.files["/m.gguf"] = BIG
    wish = want(f"{server.url}/m.gguf", tmp_path)
    fetch(wish)
    wish.record.write_text("{")
    assert store.read_record(wish.record) is None
    assert state(wish) is State.CHANGED


def test_file_system_that_does_not_know_its_size_is_not_full(tmp_path: Path) -> None:
    """/proc says 0 of 0 bytes, as some file systems in memory do."""
    store.need_space(Path("/proc"), 1 << 40)
    with pytest.raises(WeightsError, match="not enough space"):
        store.need_space(tmp_path, 1 << 60)


def test_error_of_a_fetch_is_always_one_of_ours(tmp_path: Path) -> None:
    with pytest.raises(RelightError):
        fetch(want("file:" + "x" * 300, tmp_path), report=silent)

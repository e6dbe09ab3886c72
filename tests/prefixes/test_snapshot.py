"""The file of a snapshot: whatever is done to one of its bytes is noticed, and nothing but `SnapshotError` says so."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.errors import SnapshotError
from relight.prefixes import snapshot
from relight.prefixes.snapshot import Manifest, new_file, read, seal, verify
from tests.prefixes.samples import GROUND, about, digest, payload

DATA = b"GGSQ engine state " * 5
FOOTER_BYTES = 56


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = payload(tmp_path / "state.bin", DATA)
    seal(path, about())
    return path


def forged(path: Path, manifest: bytes, *, data: bytes = DATA, magic: bytes = b"RLSNAP\x00\x01") -> Path:
    """A file whose footer is right about a manifest of any kind."""
    footer = struct.pack("<32sQQ8s", hashlib.sha256(manifest).digest(), len(data), len(manifest), magic)
    path.write_bytes(data + manifest + footer)
    return path


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


# --- what it is for


def test_sealed_file_begins_with_the_payload_and_says_what_it_is(sealed: Path) -> None:
    manifest = verify(sealed)
    assert sealed.read_bytes().startswith(DATA)
    assert manifest == read(sealed)
    assert (manifest.ground, manifest.prefix, manifest.label) == (GROUND, digest("one"), "one")
    assert (manifest.tokens, manifest.prefill_s, manifest.made_at) == (300, 2.0, 1_790_000_000.5)
    assert (manifest.payload_bytes, manifest.payload_sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())


def test_seal_returns_what_is_read_back(tmp_path: Path) -> None:
    path = payload(tmp_path / "state.bin")
    assert seal(path, about()) == verify(path)


def test_payload_of_several_blocks_is_verified_whole(tmp_path: Path) -> None:
    data = bytearray(b"0123456789abcdef" * (600 << 10))
    path = payload(tmp_path / "state.bin", bytes(data))
    seal(path, about())
    assert verify(path).payload_bytes == len(data)
    with path.open("r+b") as file:
        file.seek(len(data) - 1)
        file.write(b"\0")
    with pytest.raises(SnapshotError, match="payload is not what"):
        verify(path)


def test_every_part_of_a_large_payload_is_looked_at(tmp_path: Path) -> None:
    path = payload(tmp_path / "state.bin", bytes(20 << 20))
    manifest = seal(path, about())
    assert manifest.part_bytes
    assert manifest.payload_bytes > 2 * manifest.part_bytes
    assert verify(path) == manifest
    for at in (0, manifest.part_bytes - 1, manifest.part_bytes, 2 * manifest.part_bytes, manifest.payload_bytes - 1):
        flip(path, at)
        with pytest.raises(SnapshotError, match="payload is not what"):
            verify(path)
        flip(path, at)
    assert verify(path) == manifest


def test_parts_that_changed_places_are_noticed(tmp_path: Path) -> None:
    path = payload(tmp_path / "state.bin", bytes(8 << 20) + b"\1" * (8 << 20))
    seal(path, about())
    data = path.read_bytes()
    path.write_bytes(data[8 << 20 : 16 << 20] + data[: 8 << 20] + data[16 << 20 :])
    with pytest.raises(SnapshotError, match="payload is not what"):
        verify(path)


def test_large_payload_that_was_hashed_in_one_piece_is_verified_as_well(tmp_path: Path) -> None:
    path = payload(tmp_path / "state.bin", bytes(20 << 20))
    manifest = msgspec.structs.replace(
        seal(path, about()), part_bytes=0, payload_sha256=hashlib.sha256(bytes(20 << 20)).hexdigest()
    )
    old = {key: value for key, value in msgspec.to_builtins(manifest).items() if key != "part_bytes"}
    forged(path, msgspec.json.encode(old), data=bytes(20 << 20))
    assert verify(path) == manifest
    flip(path, 11 << 20)
    with pytest.raises(SnapshotError, match="payload is not what"):
        verify(path)


@settings(max_examples=50)
@given(data=st.binary(min_size=1, max_size=300), label=st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_any_payload_and_label_are_read_back(tmp_path_factory: pytest.TempPathFactory, data: bytes, label: str) -> None:
    path = payload(tmp_path_factory.mktemp("any") / "state.bin", data)
    manifest = seal(path, msgspec.structs.replace(about(), label=label))
    assert verify(path) == manifest
    assert path.read_bytes()[: manifest.payload_bytes] == data


# --- damage


def test_every_flipped_byte_is_noticed(sealed: Path) -> None:
    whole = sealed.read_bytes()
    for place in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            sealed.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            with pytest.raises(SnapshotError):
                verify(sealed)
            if place >= len(DATA):
                with pytest.raises(SnapshotError):
                    read(sealed)


def test_every_truncation_is_noticed(sealed: Path) -> None:
    whole = sealed.read_bytes()
    for length in range(len(whole)):
        sealed.write_bytes(whole[:length])
        for check in (read, verify):
            with pytest.raises(SnapshotError):
                check(sealed)


def test_every_missing_byte_is_noticed(sealed: Path) -> None:
    whole = sealed.read_bytes()
    for place in range(len(whole)):
        sealed.write_bytes(whole[:place] + whole[place + 1 :])
        with pytest.raises(SnapshotError):
            verify(sealed)


@pytest.mark.parametrize("more", [b"\0", b"\n", b"x" * 56, b"y" * 5000])
def test_bytes_added_anywhere_are_noticed(sealed: Path, more: bytes) -> None:
    whole = sealed.read_bytes()
    for place in range(len(whole) + 1):
        changed = whole[:place] + more + whole[place:]
        sealed.write_bytes(changed)
        with pytest.raises(SnapshotError):
            verify(sealed)


def test_footer_behind_a_footer_is_noticed(sealed: Path) -> None:
    whole = sealed.read_bytes()
    sealed.write_bytes(whole + whole[-FOOTER_BYTES:])
    with pytest.raises(SnapshotError, match="are not what its footer says"):
        read(sealed)


@settings(max_examples=200)
@given(data=st.binary(max_size=300))
def test_any_other_file_is_no_snapshot(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = payload(tmp_path_factory.getbasetemp() / "any.bin", data)
    with pytest.raises(SnapshotError, match=r"any\.bin: no snapshot"):
        verify(path)


@pytest.mark.parametrize("lengths", [(2**64 - 1, 0), (0, 2**64 - 1), (2**64 - 56, 2**63), (10, 2**40)])
def test_absurd_lengths_are_refused_without_reading_them(tmp_path: Path, lengths: tuple[int, int]) -> None:
    path = payload(tmp_path / "state.bin", DATA + struct.pack("<32sQQ8s", bytes(32), *lengths, b"RLSNAP\x00\x01"))
    with pytest.raises(SnapshotError, match="are not what its footer says"):
        read(path)


def test_huge_manifest_is_refused_even_if_its_digest_is_right(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="are not what its footer says"):
        read(forged(tmp_path / "state.bin", b" " * (snapshot.MAX_MANIFEST_BYTES + 1)))


def test_later_format_is_refused(tmp_path: Path, sealed: Path) -> None:
    text = snapshot.encode(read(sealed))
    assert read(forged(tmp_path / "now.bin", text)) == read(sealed)
    with pytest.raises(SnapshotError, match="its end is unknown"):
        read(forged(tmp_path / "later.bin", text, magic=b"RLSNAP\x00\x02"))


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("ground", "x"),
        ("ground", "A" * 64),
        ("prefix", "0" * 63),
        ("prefix", "0" * 64 + "\n"),
        ("prefix", "../" + "0" * 61),
        ("tokens", -1),
        ("tokens", 1.5),
        ("payload_bytes", 0),
        ("payload_bytes", len(DATA) + 1),
        ("payload_sha256", ""),
        ("part_bytes", 5),
        ("part_bytes", -1 << 20),
        ("prefill_s", -0.1),
        ("prefill_s", None),
        ("made_at", -1.0),
        ("label", 5),
    ],
)
def test_field_that_makes_no_sense_is_refused(tmp_path: Path, sealed: Path, field: str, wrong: object) -> None:
    fields = {**msgspec.to_builtins(read(sealed)), field: wrong}
    with pytest.raises(SnapshotError, match=r"forged\.bin: damaged"):
        read(forged(tmp_path / "forged.bin", msgspec.json.encode(fields)))


@pytest.mark.parametrize("field", [field for field in Manifest.__struct_fields__ if field != "part_bytes"])
def test_missing_field_is_refused(tmp_path: Path, sealed: Path, field: str) -> None:
    fields = msgspec.to_builtins(read(sealed))
    del fields[field]
    with pytest.raises(SnapshotError, match=field):
        read(forged(tmp_path / "forged.bin", msgspec.json.encode(fields)))


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\xfe", b"[" * 5000, b"null", b'"' + b"\xc3\x28" + b'"'])
def test_manifest_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(SnapshotError, match="no manifest"):
        read(forged(tmp_path / "forged.bin", text))


def test_problem_names_the_file_and_what_to_do(sealed: Path) -> None:
    sealed.write_bytes(sealed.read_bytes()[:-1])
    with pytest.raises(SnapshotError) as caught:
        read(sealed)
    assert caught.value.message.startswith(f"{sealed}: ")
    assert caught.value.hint == "delete it; it is made anew"


@pytest.mark.parametrize("check", [read, verify])
def test_missing_file_and_folder_are_snapshot_errors(tmp_path: Path, check: object) -> None:
    assert callable(check)
    for path in (tmp_path / "nowhere.bin", tmp_path):
        with pytest.raises(SnapshotError, match="cannot be read"):
            check(path)


# --- sealing that fails


def test_empty_payload_is_not_sealed(tmp_path: Path) -> None:
    path = payload(tmp_path / "state.bin", b"")
    with pytest.raises(SnapshotError, match="cannot be sealed"):
        seal(path, about())
    assert path.read_bytes() == b""


def test_missing_payload_is_a_snapshot_error(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="No such file"):
        seal(tmp_path / "state.bin", about())


@pytest.mark.parametrize(
    "change",
    [{"label": "x" * 70_000}, {"label": "\ud800"}, {"prefix": "short"}, {"prefill_s": float("inf")}, {"tokens": -1}],
    ids=["long label", "half a character", "no digest", "infinite", "negative"],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, change: dict[str, object]) -> None:
    path = payload(tmp_path / "state.bin", DATA)
    with pytest.raises(SnapshotError, match="cannot be sealed"):
        seal(path, msgspec.structs.replace(about(), **change))
    assert path.read_bytes() == DATA


def test_payload_stays_as_it_was_when_there_is_no_space_for_the_rest(tmp_path: Path) -> None:
    path = payload(tmp_path / "state.bin", DATA)
    code = f"""
import resource
from pathlib import Path
from relight.errors import SnapshotError
from relight.prefixes.snapshot import seal
from tests.prefixes.samples import about
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(DATA) + 100}, {len(DATA) + 100}))
try:
    seal(Path({str(path)!r}), about())
except SnapshotError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot be sealed: File too large" in done.stdout
    assert path.read_bytes() == DATA


# --- new files


def test_new_file_is_private_and_gone_when_it_does_not_end_well(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with new_file(path) as file:
        file.write(b"x")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError), new_file(path):
        pass
    assert path.read_bytes() == b"x"
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / "other"):
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["new"]

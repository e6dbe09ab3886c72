"""Encrypted snapshots: they open with their secret and whole, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from relight.errors import ConfigError, SnapshotError
from relight.prefixes import cipher, snapshot
from relight.prefixes.cipher import SEGMENT_BYTES, decrypt, encrypt, is_encrypted, manifest
from relight.values import Secret
from tests.prefixes.samples import about, payload

KEY = Secret("RELIGHT_PREFIX_KEY", "0f" * 32)
OTHER = Secret("RELIGHT_PREFIX_KEY", "0e" * 32)
TAG_BYTES = 16


def sealed(folder: Path, data: bytes = b"GGSQ engine state") -> Path:
    path = payload(folder / "state.bin", data)
    snapshot.seal(path, about())
    return path


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    encrypt(sealed(tmp_path), tmp_path / "secret", KEY)
    return tmp_path / "secret"


@pytest.fixture(scope="module")
def three_segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segments")
    encrypt(sealed(folder, bytes(2 * SEGMENT_BYTES)), folder / "secret", KEY)
    return folder / "secret"


def refused(path: Path, secret: Secret = KEY) -> str:
    """The message of the refusal; nothing may be left of the attempt."""
    target = path.with_name("opened")
    with pytest.raises(SnapshotError) as caught:
        decrypt(path, target, secret)
    assert not target.exists()
    return caught.value.message


# --- what it is for


@pytest.mark.parametrize("size", [1, SEGMENT_BYTES // 2, SEGMENT_BYTES, 2 * SEGMENT_BYTES + 1])
def test_what_was_encrypted_is_opened(tmp_path: Path, size: int) -> None:
    plain = sealed(tmp_path, bytes(size))
    encrypt(plain, tmp_path / "secret", KEY)
    decrypt(tmp_path / "secret", tmp_path / "opened", KEY)
    assert (tmp_path / "opened").read_bytes() == plain.read_bytes()
    assert snapshot.verify(tmp_path / "opened").payload_bytes == size


def test_snapshot_of_exactly_whole_segments_is_opened(tmp_path: Path) -> None:
    trailer = sealed(tmp_path, bytes(SEGMENT_BYTES)).stat().st_size - SEGMENT_BYTES
    plain = sealed(tmp_path, bytes(SEGMENT_BYTES - trailer))
    assert plain.stat().st_size == SEGMENT_BYTES
    encrypt(plain, tmp_path / "secret", KEY)
    decrypt(tmp_path / "secret", tmp_path / "opened", KEY)
    assert (tmp_path / "opened").read_bytes() == plain.read_bytes()


def test_manifest_is_read_from_the_start_alone(three_segments: Path, tmp_path: Path) -> None:
    damaged = payload(tmp_path / "secret", three_segments.read_bytes()[:-1] + b"\0")
    assert manifest(damaged, KEY) == manifest(three_segments, KEY)
    assert manifest(damaged, KEY).label == "one"


def test_files_are_private_and_their_size_is_known_before(tmp_path: Path, secret_file: Path) -> None:
    plain = tmp_path / "state.bin"
    assert secret_file.stat().st_size == cipher.encrypted_size(snapshot.read(plain), plain.stat().st_size)
    decrypt(secret_file, tmp_path / "opened", KEY)
    assert [path.stat().st_mode & 0o777 for path in (secret_file, tmp_path / "opened")] == [0o600, 0o600]


def test_nothing_of_it_can_be_read_without_the_secret(secret_file: Path) -> None:
    data = secret_file.read_bytes()
    assert not any(
        word in data for word in (b"GGSQ", b"one", b"label", b"RLSNAP", about().prefix.encode(), KEY.reveal().encode())
    )


def test_same_snapshot_is_never_encrypted_to_the_same_bytes(tmp_path: Path, secret_file: Path) -> None:
    encrypt(tmp_path / "state.bin", tmp_path / "again", KEY)
    one, two = secret_file.read_bytes(), (tmp_path / "again").read_bytes()
    assert len(one) == len(two)
    assert one[44:] != two[44:]


def test_encrypted_files_are_told_from_plain_ones(tmp_path: Path, secret_file: Path) -> None:
    assert is_encrypted(secret_file)
    assert not is_encrypted(tmp_path / "state.bin")
    assert not is_encrypted(tmp_path / "nowhere")
    assert refused(tmp_path / "state.bin").endswith("not encrypted, or damaged")
    with pytest.raises(SnapshotError, match="no snapshot"):
        snapshot.read(secret_file)


# --- damage


def test_every_flipped_byte_is_noticed(secret_file: Path) -> None:
    whole = secret_file.read_bytes()
    for place in range(len(whole)):
        for flip in (0x01, 0x80):
            secret_file.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            assert str(secret_file) in refused(secret_file)


def test_every_truncation_is_noticed_in_the_listing_too(secret_file: Path) -> None:
    whole = secret_file.read_bytes()
    for length in range(len(whole)):
        secret_file.write_bytes(whole[:length])
        refused(secret_file)
        with pytest.raises(SnapshotError):
            manifest(secret_file, KEY)


def test_every_flipped_byte_of_the_head_is_noticed_in_the_listing(secret_file: Path) -> None:
    whole = secret_file.read_bytes()
    head_end = 44 + int.from_bytes(whole[40:44], "little")
    for place in range(head_end):
        secret_file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(SnapshotError):
            manifest(secret_file, KEY)


@pytest.mark.parametrize("more", [1, TAG_BYTES, TAG_BYTES + 1, 5000])
def test_added_bytes_are_noticed(secret_file: Path, more: int) -> None:
    secret_file.write_bytes(secret_file.read_bytes() + bytes(more))
    assert "are not what its head says" in refused(secret_file)


def segments(whole: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Start, two whole segments and the rest."""
    start = 44 + int.from_bytes(whole[40:44], "little")
    one, two = start + SEGMENT_BYTES + TAG_BYTES, start + 2 * (SEGMENT_BYTES + TAG_BYTES)
    return whole[:start], whole[start:one], whole[one:two], whole[two:]


def test_exchanged_repeated_and_missing_segments_are_noticed(three_segments: Path, tmp_path: Path) -> None:
    start, one, two, last = segments(three_segments.read_bytes())
    assert last
    for changed in ([two, one, last], [one, one, last], [last, one, two], [one, two], [one, last], [], [one, two, two, last]):
        refused(payload(tmp_path / "secret", start + b"".join(changed)))


def test_segment_of_another_file_with_the_same_secret_is_noticed(three_segments: Path, tmp_path: Path) -> None:
    encrypt(sealed(tmp_path, bytes(2 * SEGMENT_BYTES)), tmp_path / "twin", KEY)
    start, one, two, last = segments(three_segments.read_bytes())
    _, _, foreign, _ = segments((tmp_path / "twin").read_bytes())
    assert "does not open" in refused(payload(tmp_path / "secret", start + one + foreign + last))
    decrypt(payload(tmp_path / "secret", start + one + two + last), tmp_path / "whole", KEY)


@pytest.mark.parametrize("last", [False, True])
def test_a_segment_is_bound_to_being_the_last_or_not(last: bool) -> None:
    whole = 2 * SEGMENT_BYTES
    ends = [nonce[-1] for nonce, _ in cipher._segments(whole if last else whole + 1)]
    assert ends == ([0, 1] if last else [0, 0, 1])


def test_wrong_secret_opens_neither_head_nor_segments(secret_file: Path) -> None:
    assert "another secret" in refused(secret_file, OTHER)
    with pytest.raises(SnapshotError, match="another secret") as caught:
        manifest(secret_file, OTHER)
    assert OTHER.reveal() not in str(caught.value)


# --- failures


def test_target_that_exists_is_left_alone(tmp_path: Path, secret_file: Path) -> None:
    before = secret_file.read_bytes()
    with pytest.raises(SnapshotError, match="File exists"):
        encrypt(tmp_path / "state.bin", secret_file, KEY)
    assert secret_file.read_bytes() == before


def test_missing_source_leaves_no_target(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="cannot be read"):
        encrypt(tmp_path / "nowhere", tmp_path / "secret", KEY)
    assert "No such file" in refused(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_snapshot_is_not_encrypted(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="no snapshot"):
        encrypt(payload(tmp_path / "state.bin"), tmp_path / "secret", KEY)
    assert not (tmp_path / "secret").exists()


def test_empty_secret_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="RELIGHT_PREFIX_KEY: is empty"):
        cipher.need(Secret("RELIGHT_PREFIX_KEY", ""))


def test_missing_library_says_what_to_install(tmp_path: Path) -> None:
    # -S leaves out every installed package; msgspec, which is needed, comes back by a link.
    import msgspec

    (tmp_path / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    source = Path(cipher.__file__).parents[2]
    code = f"""
import sys
sys.path[:0] = [{str(source)!r}, {str(tmp_path)!r}]
from pathlib import Path
from relight.errors import ConfigError
from relight.prefixes import cipher
from relight.values import Secret
for act in (cipher.encrypt, cipher.decrypt):
    try:
        act(Path("a"), Path("b"), Secret("KEY", "x"))
    except ConfigError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install '.[encryption]' in the folder of Relight's source") == 2


def test_library_is_imported_by_first_use_alone() -> None:
    code = """
import sys
from pathlib import Path
from relight.prefixes.store import Store
from relight.values import Secret
Store(Path("nowhere"), secret=Secret("KEY", "x")).entries("0" * 64)
print("cryptography" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

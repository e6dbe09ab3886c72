"""What this user has deployed, told from what came with a folder."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from relight.cli.receipts import RECEIPT, Service, forget, is_known, keep, remember
from relight.cloud.receipt import Receipt

URL = "https://portfolio-123456789012.europe-west4.run.app"
MINE = Service("my-project", "europe-west4", "portfolio", URL)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which this user's services stand."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/relight/services.json"


def receipt(url: str | None = URL) -> Receipt:
    said = {"project": MINE.project, "region": MINE.region, "service": MINE.service, "url": url, "revision": None}
    rest = {
        "image": "i",
        "steps": 1,
        "seconds": 1.0,
        "hour": None,
        "wake": None,
        "tail": None,
        "kept": 0,
        "tested": None,
        "at": "now",
    }
    return msgspec.convert(said | rest, Receipt)


def test_deployment_makes_a_service_known_and_its_end_unknown(tmp_path: Path) -> None:
    keep(receipt(), tmp_path)
    assert is_known(MINE)
    assert forget(tmp_path, *MINE.place)
    assert not is_known(MINE)
    assert not (tmp_path / RECEIPT).exists()


def test_receipt_alone_makes_nothing_known(tmp_path: Path) -> None:
    (tmp_path / ".relight").mkdir()
    (tmp_path / RECEIPT).write_bytes(msgspec.json.encode(receipt()))
    assert not is_known(MINE)


def test_same_service_at_another_address_is_not_known(tmp_path: Path) -> None:
    remember(MINE)
    other = msgspec.structs.replace(MINE, url="https://elsewhere.run.app")
    assert not is_known(other)
    remember(other)
    assert (is_known(other), is_known(MINE)) == (True, False)


def test_service_without_an_address_is_not_remembered(tmp_path: Path, state: Path) -> None:
    keep(receipt(url=None), tmp_path)
    assert not state.exists()


def test_file_that_cannot_be_read_knows_nothing_and_is_written_anew(state: Path) -> None:
    remember(MINE)
    state.write_text("{ broken")
    assert not is_known(MINE)
    remember(MINE)
    assert is_known(MINE)


def test_place_that_cannot_be_written_keeps_no_deployment_from_being_told(tmp_path: Path, state: Path) -> None:
    state.parent.parent.mkdir(parents=True)
    state.parent.write_text("a file where a folder should be")
    keep(receipt(), tmp_path)
    assert (tmp_path / RECEIPT).is_file()

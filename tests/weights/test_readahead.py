from __future__ import annotations

import threading
from pathlib import Path

from relight.weights.readahead import read_ahead


def test_it_returns_at_once_and_a_missing_file_is_nobodys_error(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"x" * 100_000)
    for name in ("weights", "none"):
        read_ahead(tmp_path / name)
    for thread in [thread for thread in threading.enumerate() if thread.name == "read ahead"]:
        thread.join(10)
        assert not thread.is_alive()
    assert (tmp_path / "weights").read_bytes() == b"x" * 100_000

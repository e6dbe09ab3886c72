"""What decoding JSON can raise. Knows no format of its own."""

from __future__ import annotations

from typing import Final

import msgspec

NOT_JSON: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Everything that `msgspec.json.decode` raises for bytes that are not the JSON that was expected."""

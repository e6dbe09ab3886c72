"""Tensors out of a safetensors file, as it is mapped into memory. Knows no model.

The format: eight bytes with the length of a header, the header in JSON (names, types, shapes, places), the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

_MOST_HEADER: Final = 16 << 20


class _Place(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_tensors(file: Path) -> Mapping[str, NDArray[np.float32]]:
    """Every tensor of single precision in `file`, by name; read when it is looked at. Raises `WeightsError`."""
    import numpy as np

    try:
        content = np.memmap(file, dtype=np.uint8, mode="r")
        length = int(content[:8].view(np.uint64)[0])
        if length > min(_MOST_HEADER, content.size - 8):
            raise ValueError("its header is longer than the file")
        header = msgspec.json.decode(content[8 : 8 + length].tobytes(), type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        places = {name: msgspec.json.decode(place, type=_Place) for name, place in header.items()}
        body = content[8 + length :]
        return {
            name: body[slice(*place.data_offsets)].view(np.float32).reshape(place.shape)
            for name, place in places.items()
            if place.dtype == "F32"
        }
    except (OSError, ValueError, IndexError, *NOT_JSON) as error:
        raise WeightsError(f"{file}: is no safetensors file that can be read ({error})") from error

"""One value: from TOML or text into the type of its key, and back into the words of a message or a file. Knows no layer."""

from __future__ import annotations

import math
import re
import tomllib
from enum import Enum
from typing import Final, cast, get_origin

import msgspec

from relight.config.keys import Key
from relight.values import Bytes, Duration

_TRUE: Final = ("true", "1", "yes", "on")
_FALSE: Final = ("false", "0", "no", "off")
_LONGEST_SHOWN: Final = 60
_NAMES: Final = {bool: "true or false", int: "a whole number", float: "a number"}


def read(key: Key, raw: object) -> object:
    """`raw`, a value as TOML has it, in the type of `key`; raises `ValueError` with what it should be and what to do."""
    if key.base in (Duration, Bytes):
        return _bounded(key, _unit(key, raw))
    if key.base is float:
        return _number(key, raw)
    try:
        value = msgspec.convert(raw, key.type)
        # msgspec searches, and `$` fits before a last line break: "smol\n" would pass.
        if not (isinstance(value, str) and key.pattern) or re.fullmatch(key.pattern, value):
            return cast(object, value)
    except msgspec.ValidationError:
        pass
    got = "something that is not shown, in case it is the secret itself" if key.is_hidden else shown(raw)
    raise ValueError(f"should be {expected(key)}, got {got}{_advice(key, raw)}")


def read_text(key: Key, text: str) -> object:
    """`text`, as an environment variable holds it, in the type of `key`; empty unsets what may be left out."""
    if not text and key.is_optional:
        return None
    return read(key, _plain(key, text))


def written(value: object) -> str:
    """`value` as TOML writes it, exactly: what is read back from it is equal. None has no form and is "not set"."""
    if value is None:
        return "not set"
    if isinstance(value, (Duration, Bytes)):
        value = plain(value)
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(written(item) for item in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no word for these; TOML writes them as Python does.
        return str(value)
    return msgspec.json.encode(value).decode()


def plain(value: object) -> object:
    """`value` for JSON: durations and sizes as text, everything else as it is."""
    if isinstance(value, Duration):
        return str(value)
    return _exact_bytes(value) if isinstance(value, Bytes) else value


def shown(raw: object) -> str:
    """`raw` for a message: as TOML writes it, cut when long, in words when it is not a simple value."""
    if isinstance(raw, dict):
        return "a table"
    if isinstance(raw, (str, bool, int, float, list, tuple)):
        text = written(raw) if not isinstance(raw, list) or all(isinstance(item, (str, int)) for item in raw) else "a list"
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return "a date or time" if hasattr(raw, "isoformat") else type(raw).__name__


def expected(key: Key) -> str:
    """What a value of `key` is, in words."""
    base = key.base
    if isinstance(base, type) and issubclass(base, Enum):
        return " or ".join(written(member) for member in base)
    if key.is_hidden:
        return f"the name of an environment variable in upper case, like {shown(key.example)}"
    if base is str:
        example = f", like {shown(key.example)}" if key.example is not None else ""
        return f"text{f' of the form {key.pattern}' if key.pattern else ''}{example}"
    if base in (Duration, Bytes):
        return f'a {"duration" if base is Duration else "size"} like "{key.example or key.default}"'
    if base in _NAMES:
        return f"{_NAMES[base]}{_bounds(key)}"
    return f"a list of texts{f', like {written(key.example)}' if key.example else ''}"


def _bounds(key: Key) -> str:
    if key.at_least is not None and key.at_most is not None:
        return f" from {key.at_least} to {key.at_most}"
    if key.at_least is not None:
        return f" of at least {key.at_least}"
    return f" of at most {key.at_most}" if key.at_most is not None else ""


def _unit(key: Key, raw: object) -> Duration | Bytes:
    if isinstance(raw, (Duration, Bytes)) and isinstance(raw, key.base):
        return raw
    if isinstance(raw, str):
        value: Duration | Bytes = key.base.parse(raw)
        return value
    unit = "s" if key.base is Duration else "B"
    is_number = isinstance(raw, (int, float)) and not isinstance(raw, bool)
    advice = f'; write {raw} as "{raw}{unit}"' if is_number else ""
    raise ValueError(f"should be {expected(key)}, got {shown(raw)}{advice}")


def _number(key: Key, raw: object) -> float:
    value = _as_float(raw)
    is_fit = value is not None and key.at_least <= value and (key.at_most is None or value <= key.at_most)
    if value is None or not is_fit:
        raise ValueError(f"should be {expected(key)}, got {shown(raw)}{_advice(key, raw)}")
    return value


def _as_float(raw: object) -> float | None:
    if not isinstance(raw, (int, float)) or isinstance(raw, bool):
        return None
    try:
        return float(raw) if math.isfinite(raw) else None
    except OverflowError:
        return None


def _bounded(key: Key, value: Duration | Bytes) -> Duration | Bytes:
    if key.at_least is not None and value < key.base.parse(key.at_least):
        raise ValueError(f'should be at least "{key.at_least}", got {written(value)}')
    if key.at_most is not None and value > key.base.parse(key.at_most):
        raise ValueError(f'should be at most "{key.at_most}", got {written(value)}')
    return value


def _plain(key: Key, text: str) -> object:
    """Text as the TOML value it most likely means; what fits nothing stays text, and `read` says what was wanted."""
    if key.base is bool:
        return text.lower() in _TRUE if text.lower() in _TRUE + _FALSE else text
    if key.base in (int, float):
        try:
            return key.base(text)
        except ValueError:
            return text
    return _listed(text) if get_origin(key.base) is tuple else text


def _listed(text: str) -> object:
    """A TOML array when it looks like one, else texts between commas."""
    if not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _advice(key: Key, raw: object) -> str:
    if not isinstance(raw, str):
        return ""
    is_number = key.base in (int, float) and re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", raw) and _plain(key, raw) is not raw
    if is_number or (key.base is bool and raw.lower() in ("true", "false")):
        return "; write it without quotes"
    if isinstance(key.base, type) and issubclass(key.base, Enum):
        from relight.config.suggest import nearest

        found = nearest(raw, [member.value for member in key.base])
        return f'; did you mean "{found}"?' if found else ""
    return ""


def _exact_bytes(size: int) -> str:
    """The largest unit that `size` is a whole number of."""
    for step, units in ((1024, "KiB MiB GiB TiB"), (1000, "KB MB GB TB")):
        for power, unit in reversed(list(enumerate(units.split(), start=1))):
            if size and size % step**power == 0:
                return f"{size // step**power}{unit}"
    # int: a Bytes would format itself, unit and all.
    return f"{int(size)}B"


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")

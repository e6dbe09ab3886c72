"""Types that several sections of the schema share. Knows no section."""

# No `from __future__ import annotations` here, as in `schema`.
from typing import Annotated

from msgspec import Meta, Struct

# A pattern or bound of an optional key, or of a table's names, has to stand on its own: msgspec takes none beside `| None`.
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
ModelName = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._:/-]*$", examples=["smol"])]
ModeName = Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]{0,40}$", examples=["projects"])]


class SecretName(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name of a secret, never the secret: it is read from the environment, or from a file `.env` beside this one."""

    secret: Annotated[
        str | None, Meta(description="Name of the environment variable that holds it.", examples=["OPENAI_API_KEY"])
    ] = None


__all__ = ["Count", "ModeName", "ModelName", "SecretName", "Sha256", "Share", "Temperature"]

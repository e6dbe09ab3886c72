"""Who may do what on a thing: `:getIamPolicy` and `:setIamPolicy`, with etags that conflict, as every API of Google has them."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from tests.cloud.fake.server import Refused

_BINDING = {"role", "members", "condition"}
_HIDDEN = "_withcond_2b1f8a3c"


class Policies:
    """The policies of the things of one API, by name."""

    def __init__(self) -> None:
        self.bindings: dict[str, dict[str, set[str]]] = {}
        """Members by role, by thing."""
        self.conditional: dict[str, list[dict[str, Any]]] = {}
        """Bindings that hold under a condition, whole, by thing."""

    def members(self, thing: str, role: str) -> set[str]:
        return self.bindings.get(thing, {}).get(role, set())

    def forget(self, member: str) -> None:
        """An account is deleted: it stays in every policy, under a name that says so."""
        for members in (members for roles in self.bindings.values() for members in roles.values()):
            if member in members:
                members.remove(member)
                members.add(f"deleted:{member}?uid=1")

    def get(self, thing: str, version: int = 3) -> dict[str, Any]:
        """Conditions are shown to those who ask for version 3; others see a role that nobody can give."""
        plain = [
            {"role": role, "members": sorted(members)}
            for role, members in sorted(self.bindings.get(thing, {}).items())
            if members
        ]
        conditional = copy.deepcopy(self.conditional.get(thing, []))
        etag = hashlib.sha256(json.dumps([plain, conditional]).encode()).hexdigest()[:12]
        if conditional and version < 3:
            conditional = [{"role": f"{one['role']}{_HIDDEN}", "members": one["members"]} for one in conditional]
        return {"version": 3 if conditional and version >= 3 else 1, "etag": etag, "bindings": plain + conditional}

    def set(self, thing: str, policy: dict[str, Any]) -> dict[str, Any]:
        """Replaces all; one that was read before somebody else wrote is refused."""
        bindings = policy.get("bindings", [])
        if strange := (set(policy) - {"version", "etag", "bindings"}) | {key for one in bindings for key in set(one) - _BINDING}:
            raise Refused(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. Unknown name {sorted(strange)}")
        if policy.get("etag") and policy["etag"] != self.get(thing)["etag"]:
            raise Refused(409, "ABORTED", "There were concurrent policy changes. Please retry the whole read-modify-write.")
        conditional = [one for one in bindings if "condition" in one]
        if conditional and policy.get("version") != 3:
            raise Refused(400, "INVALID_ARGUMENT", "Policies with conditional role bindings must specify version 3.")
        if hidden := [one["role"] for one in bindings if _HIDDEN in one["role"]]:
            raise Refused(400, "INVALID_ARGUMENT", f"Role {hidden[0]} is not supported for this resource.")
        self.conditional[thing] = conditional
        self.bindings[thing] = {}
        for one in bindings:
            if "condition" not in one:
                self.bindings[thing].setdefault(one["role"], set()).update(one["members"])
        return self.get(thing)

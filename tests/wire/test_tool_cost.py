"""Schemas that would take for ever to look at are told from those that real tools have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relight.wire.tool_check import toolset
from relight.wire.tool_cost import MOST, work
from tests.wire.tool_cases import TOOLS, tool

Json = dict[str, Any]


def doubling(levels: int) -> Json:
    """Each part refers twice to the next."""
    parts = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": {**parts, f"d{levels}": {"type": "object"}}, "$ref": "#/$defs/d0"}


def circle(parts: int) -> Json:
    """All parts refer to all, at one place."""
    every = [{"$ref": f"#/$defs/d{n}"} for n in range(parts)]
    return {"$defs": {f"d{n}": {"anyOf": every} for n in range(parts)}, "anyOf": every}


TREE: Json = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
}


@pytest.mark.parametrize("schema", [doubling(40), circle(8), {"$dynamicRef": "#x"}, {"$ref": "http://127.0.0.1:9/schema"}])
def test_schema_that_may_take_for_ever_is_not_looked_at(schema: Json) -> None:
    assert work(schema, {"a": 1}) > MOST
    assert toolset([tool("f", schema)]).check("f", {"a": 1}) is None


def test_schemas_of_real_tools_are_looked_at() -> None:
    value = {"name": "a", "children": [{"name": "b", "children": []}]}
    assert work(TREE, value) <= MOST
    call = toolset([tool("f", TREE)]).check("f", value)
    assert call is not None
    assert json.loads(call.arguments) == value
    for one in TOOLS:
        if one["function"]["name"] == "strange":
            continue  # refers to another's schema
        assert work(one["function"].get("parameters", {}), value) <= MOST

"""Calls against the schemas of a request: what may be passed on, what is put right, what is not."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from relight.wire.tool_check import toolset
from relight.wire.tool_repair import MOST, read, repaired
from tests.wire.tool_cases import TOOLS, tool


def arguments(schema: dict[str, Any], said: object) -> Any:
    """The arguments as they are passed on, `None` when they are not."""
    call = toolset([tool("f", schema)]).check("f", said)
    return None if call is None else json.loads(call.arguments)


def object_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("schema", "said", "becomes"),
    [
        (object_of(a={"type": "string"}), {"a": "5"}, {"a": "5"}),
        (object_of(a={"type": "integer"}), {"a": "-5"}, {"a": -5}),
        (object_of(a={"type": "integer"}), {"a": " 5 "}, {"a": 5}),
        (object_of(a={"type": "integer"}), {"a": "05"}, None),
        (object_of(a={"type": "integer"}), {"a": "5.5"}, None),
        (object_of(a={"type": "integer"}), {"a": True}, None),
        (object_of(a={"type": "integer", "minimum": 3}), {"a": "1"}, None),
        (object_of(a={"type": "number"}), {"a": "1e3"}, {"a": 1000.0}),
        (object_of(a={"type": "boolean"}), {"a": "false"}, {"a": False}),
        (object_of(a={"type": "boolean"}), {"a": "yes"}, None),
        (object_of(a={"type": "string"}), {"a": 1.5}, {"a": "1.5"}),
        (object_of(a={"type": "string"}), {"a": True}, {"a": "true"}),
        (object_of(a={"type": "string"}), {"a": None}, None),
        (object_of(a={"anyOf": [{"type": "integer"}, {"type": "null"}]}), {"a": "7"}, {"a": 7}),
        (object_of(a={"anyOf": [{"type": "integer"}, {"type": "null"}]}), {"a": "None"}, {"a": None}),
        (object_of(a={"type": "array"}), {"a": "[1, 2]"}, {"a": [1, 2]}),
        (object_of(a={"type": "array", "items": {"type": "integer"}}), {"a": 3}, {"a": [3]}),
        (object_of(a={"type": "array", "items": {"type": "integer"}}), {"a": ["1", 2, "3"]}, {"a": [1, 2, 3]}),
        (object_of(a=object_of(b={"type": "integer"})), {"a": '{"b": 1}'}, {"a": {"b": 1}}),
        (object_of(a=object_of(b={"type": "integer"})), {"a": {"b": "1"}}, {"a": {"b": 1}}),
        (object_of(a={"enum": ["on", "off"]}), {"a": " ON"}, {"a": "on"}),
        (object_of(a={"enum": ["on", "ON"]}), {"a": "On"}, None),
        (object_of(file_path={"type": "string"}), {"filePath": "x"}, {"file_path": "x"}),
        (object_of(file_path={"type": "string"}), {"path": "x"}, None),
        (object_of(a_b={"type": "string"}, ab={"type": "string"}), {"A_B": "x", "ab": "y"}, {"a_b": "x", "ab": "y"}),
        ({}, {"anything": 1}, {"anything": 1}),
        ({"type": "object", "$schema": "https://example.com/own"}, {}, {}),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, {"a": 1}, None),
        ({"type": "nonsense"}, {}, None),
        (object_of(a={"type": "string", "pattern": "^(a+)+$"}), {"a": "a" * 50 + "!"}, None),
        (object_of(a={"type": "string"}), "just words", {"a": "just words"}),
        (object_of(a={"type": "string"}, b={"type": "string"}), "just words", None),
        (object_of(a={"type": "string"}), '{"a": "b"', {"a": "b"}),
        (object_of(a={"type": "string"}), '{"a": "b', None),
        (object_of(a={"type": "string"}), ["x"], None),
        ({"type": "object"}, "", {}),
    ],
    ids=str,
)
def test_arguments_are_passed_on_when_they_fit_or_can_be_made_to_fit_in_one_way(
    schema: Any, said: object, becomes: object
) -> None:
    assert arguments(schema, said) == becomes


@pytest.mark.parametrize(
    ("said", "known"),
    [("look", "look"), ("functions.look", "look"), ("Look", "look"), ("writeFile", "write_file"), ("loo", None), ("", None)],
)
def test_name_is_that_of_a_tool_or_differs_in_case_and_dashes_alone(said: str, known: str | None) -> None:
    assert toolset(TOOLS).named(said) == known


def test_name_that_two_tools_may_mean_is_none() -> None:
    tools = toolset([tool("a_b", {}), tool("AB", {})])
    assert (tools.named("ab"), tools.named("AB")) == (None, "AB")


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "function": {"name": "now"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "now"}}]},
        },
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "now"}]},
    ],
)
def test_choice_that_names_tools_allows_no_others(choice: object) -> None:
    assert list(toolset(TOOLS, choice).schemas) == ["now"]


# --- JSON


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,}', {"a": 1}),
        ('{"a": "b" "c": 2}', {"a": "b", "c": 2}),
        ("{'a': None, 'b': True}", {"a": None, "b": True}),
        ('{"a": [1, 2}', {"a": [1, 2]}),
        ('{"a": "x\ty"}', {"a": "x\ty"}),
        ('{"a": "\\d+"}', {"a": "\\d+"}),
        ('{"a": "caf\\u00e9",}', {"a": "café"}),
    ],
)
def test_broken_json_is_read_where_it_can_mean_one_thing_only(text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "un',
        '{"a": 12',
        '{"a": tru',
        '{"a": """x"""}',
        '{"a": "x", y"}',
        '{"a": 1} and words',
        '{"a": 1 // a comment\n}',
        '{"a": "b", "c": "d "e", "f": 1}',
        "words",
        '{"a": "' + "x" * MOST + '",}',
        "[" * 5000,
        '{"a":' * 5000,
    ],
    ids=lambda text: text[:30],
)
def test_broken_json_that_may_mean_more_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"read in one way|repaired|too deeply"):
        repaired(text)


def test_checker_and_repairer_are_not_imported_before_they_are_needed() -> None:
    code = "import sys, relight.serve.app, relight.wire.tool_text; "
    code += "sys.exit('jsonschema_rs' in sys.modules or 'json_repair' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

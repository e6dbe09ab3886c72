from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.config.keys import Key, env_name, schema, sections
from relight.config.kinds import Kind, kind
from relight.config.load import load
from relight.config.reference import BYTES_PATTERN, DURATION_PATTERN, example, json_schema, markdown
from relight.values import Bytes, Duration

KEYS = [key for section in sections(schema()) for key in section.keys.values()]
PORTFOLIO = Path(__file__).parents[2] / "examples" / "portfolio" / "relight.toml"


def violations(value: Any, wanted: dict[str, Any], path: str = "$") -> list[str]:
    """Where `value` breaks `wanted`, for the words of JSON Schema that ours uses; another word is an error of the test."""
    unknown = set(wanted) - {
        *("$schema", "title", "description", "default", "examples", "type", "enum", "pattern", "minimum", "maximum"),
        *("items", "properties", "additionalProperties", "propertyNames"),
    }
    assert not unknown, unknown
    types: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
    }
    if not isinstance(value, types[wanted["type"]]) or (isinstance(value, bool) and wanted["type"] != "boolean"):
        return [f"{path}: not {wanted['type']}"]
    if isinstance(value, dict):
        return _table_violations(value, wanted, path)
    if isinstance(value, list):
        return [found for item in value for found in violations(item, wanted["items"], f"{path}[]")]
    found = [] if value in wanted.get("enum", [value]) else [f"{path}: not in enum"]
    if isinstance(value, str):
        return found if re.search(wanted.get("pattern", ""), value) else [*found, f"{path}: pattern"]
    return found if wanted.get("minimum", value) <= value <= wanted.get("maximum", value) else [*found, f"{path}: bounds"]


def _table_violations(table: dict[str, Any], wanted: dict[str, Any], path: str) -> list[str]:
    found: list[str] = []
    for name, value in table.items():
        inner = wanted.get("properties", {}).get(name, wanted["additionalProperties"])
        if not re.search(wanted.get("propertyNames", {}).get("pattern", ""), name):
            found.append(f"{path}.{name}: name")
        elif inner is False:
            found.append(f"{path}.{name}: unknown")
        else:
            found += violations(value, inner, f"{path}.{name}")
    return found


def uncommented() -> str:
    return re.sub(r"(?m)^#(?=[a-z0-9_]+ = |\[)", "", example())


def test_every_key_and_section_is_described() -> None:
    assert [key.path for key in KEYS if not key.description.endswith(".")] == []
    assert [section.path for section in sections(schema()) if not section.description.endswith(".")] == []


def test_every_key_without_a_default_has_an_example() -> None:
    assert [key.path for key in KEYS if key.default in (None, "", ()) and key.example is None] == []


def test_example_loads_as_it_is_and_changes_no_default(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_text(example(), encoding="utf-8")
    loaded = load(file, environ={})
    assert [key for key, origin in loaded.origins.items() if str(origin) != "default"] == ["models.smol.source"]


def test_example_loads_with_every_key_uncommented(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_text(uncommented(), encoding="utf-8")
    loaded = load(file, environ={})
    given = [key for key, origin in loaded.origins.items() if origin.line is not None]
    assert sorted(re.sub(r"\b(models|modes|warm)\.[a-z]+\.", r"\1.NAME.", key) for key in given) == sorted(
        ".".join(k.path) for k in KEYS
    )
    models = loaded.config.models
    assert {name: kind(model) for name, model in models.items()} == {
        "smol": Kind.OURS,
        "cloud": Kind.PROVIDER,
        "best": Kind.LIST,
    }
    assert models["cloud"].price.input == 0.25
    assert (models["cloud"].api_key.secret, loaded.config.auth.keys.secret) == ("OPENAI_API_KEY", "RELIGHT_KEYS")


def test_example_names_the_sections_of_a_model_by_the_name_of_the_example() -> None:
    assert "NAME." not in example()
    assert "\n#[models.cloud.price]\n" in example()


def test_example_shows_each_description_right_above_its_key() -> None:
    joined = re.sub(r"\n# ", " ", example())
    for key in KEYS:
        assert re.search(rf" {re.escape(key.description)}\n#?{key.path[-1]} = ", joined), key.path


def test_page_has_a_row_with_type_default_and_variable_for_every_key() -> None:
    page = markdown()
    for section in sections(schema()):
        if section.path:
            assert f"## `[{'.'.join(section.path)}]`" in page
    for key in KEYS:
        (row,) = [line for line in page.splitlines() if f"`{env_name(key.path)}` |" in line]
        assert row.startswith(f"| `{key.path[-1]}` | ")
        assert key.description in row
        assert row.replace("\\|", "").count("|") == 7


def test_page_shows_defaults_and_bounds() -> None:
    page = markdown()
    assert "| `port` | whole number | `8080` | ≥ 0, ≤ 65535 |" in page
    assert '| `idle_after` | duration | `"5m"` |  |' in page
    assert '| `heartbeat` | duration | `"5s"` | ≥ 10ms |' in page
    assert "| `input` | number |  | ≥ 0 |" in page


def test_page_says_which_keys_belong_to_which_kind_of_model() -> None:
    page = markdown()
    assert "\n- Keys of a list of models (fallback): `task`, `fallback`.\n" in page
    assert re.search(r"\n- Keys of a provider's model \(url\): .*`price`.*\.\n", page)


def key_schema(key: Key) -> dict[str, Any]:
    found: dict[str, Any] = json_schema()
    for part in key.path:
        found = found["additionalProperties"] if part == "NAME" else found["properties"][part]
    return found


def test_json_schema_describes_every_key() -> None:
    for key in KEYS:
        assert key_schema(key)["description"].startswith(key.description), key.path


def test_json_schema_carries_types_bounds_defaults_and_choices() -> None:
    found = json_schema()
    server, model = (
        found["properties"]["server"]["properties"],
        found["properties"]["models"]["additionalProperties"]["properties"],
    )
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (server["port"]["type"], server["port"]["minimum"], server["port"]["maximum"]) == ("integer", 0, 65535)
    assert (server["public"]["type"], server["public"]["default"]) == ("boolean", False)
    assert (server["max_body"]["type"], server["max_body"]["default"]) == ("string", "8MiB")
    assert model["engine"]["enum"] == ["llama.cpp", "ollama", "vllm", "scripted"]
    assert model["sha256"]["pattern"] == "^[0-9a-f]{64}$"
    assert model["args"]["items"] == {"type": "string"}
    price = model["price"]["properties"]["input"]
    assert (price["type"], price["minimum"]) == ("number", 0)
    assert model["api_key"]["properties"]["secret"]["pattern"] == "^[A-Z_][A-Z0-9_]*$"


def test_json_schema_accepts_the_example_and_the_portfolio() -> None:
    for text in (example(), uncommented(), PORTFOLIO.read_text(encoding="utf-8")):
        assert violations(tomllib.loads(text), json_schema()) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[server]\nprot = 1", "$.server.prot: unknown"),
        ("[colours]", "$.colours: unknown"),
        ("[models.x]\nbrigde = 'y'", "$.models.x.brigde: unknown"),
        ("[models.x]\nprice = { input = -1 }", "$.models.x.price.input: bounds"),
        ("[models.x]\nprice = { input = '1' }", "$.models.x.price.input: not number"),
        ("[models.x]\napi_key = 'sk-1'", "$.models.x.api_key: not object"),
        ("[models.x]\napi_key = { secret = 'sk-1' }", "$.models.x.api_key.secret: pattern"),
        ("[models.'a b']", "$.models.a b: name"),
        ("[server]\nport = 70000", "$.server.port: bounds"),
        ("[server]\nheartbeat = 5", "$.server.heartbeat: not string"),
        ("[server]\nheartbeat = '5 s'", "$.server.heartbeat: pattern"),
        ("[log]\ncontent = 'all'", "$.log.content: not in enum"),
    ],
)
def test_json_schema_rejects_what_loading_rejects(text: str, where: str) -> None:
    assert violations(tomllib.loads(text), json_schema()) == [where]


@given(st.from_regex(DURATION_PATTERN, fullmatch=True))
def test_every_duration_the_json_schema_accepts_can_be_read(text: str) -> None:
    assert Duration.parse(text) >= 0


@given(st.from_regex(BYTES_PATTERN, fullmatch=True).filter(str.isascii))
def test_every_size_the_json_schema_accepts_can_be_read(text: str) -> None:
    assert Bytes.parse(text) >= 0


@given(st.floats(min_value=0, max_value=1e9), st.integers(0, 2**60))
def test_every_duration_and_size_we_write_is_accepted_by_the_json_schema(seconds: float, size: int) -> None:
    assert re.search(DURATION_PATTERN, str(Duration(seconds)))
    assert re.search(BYTES_PATTERN, str(Bytes(size)))

"""The house stands as it is drawn: imports point down, and the serving path is light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "relight"
HEAVY = """
    aiohttp anthropic bm25s cryptography deprecated email.mime fastapi google grpc h11 h2 httpx httpx2 huggingface_hub jinja2
    json_repair jsonschema_rs langchain_core limits linkify_it markdown_it minijinja multidict nh3 numpy ollama onnxruntime
    openai opentelemetry pkg_resources prometheus_client pydantic pydantic_ai pypdf redis requests rich ruamel selectolax
    setuptools sqlite3 tomlkit unittest urllib.request urllib3 websockets wrapt wsproto xllamacpp xml yaml yarl
"""


def floors() -> dict[str, int]:
    """The floor of each folder and top-level module, as the design draws it."""
    drawing = (ROOT / "docs/design.md").read_text().split("src/relight/\n", 1)[1].split("```", 1)[0]
    found: dict[str, int] = {}
    for line in drawing.splitlines():
        match = re.fullmatch(r"  ((?:[a-z]+(?:\.py|/) +)+)(.*)", line)
        assert match, f"design.md: a line of the house that cannot be read: {line!r}"
        floor = re.search(r"(?:^| )(\d)(?: {2}|$)", match[2])
        assert floor, f"design.md: no floor in {line!r}"
        found |= dict.fromkeys(re.findall(r"[a-z]+", match[1].replace(".py", "")), int(floor[1]))
    return found


FLOORS = floors()
# The ends of the package: what starts it, and what it looks like from outside.
FLOORS |= {"__main__": 6, "__init__": 6}


def room(module: str) -> str:
    """Folder or top-level module that a dotted name of ours lies in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Every module of ours that `file` names, with its line: inside functions and for types alone as well."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] == "relight")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "relight":
            if node.module != "relight":
                yield node.lineno, node.module
                continue
            # `__version__` is the package's own, and may be known to all.
            yield from ((node.lineno, f"relight.{alias.name}") for alias in node.names if alias.name != "__version__")


def name_of(file: Path) -> str:
    return ".".join(("relight", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


FILES = sorted(PACKAGE.rglob("*.py"))


def test_drawing_is_read_whole() -> None:
    assert {
        name: FLOORS[name] for name in ("errors", "values", "clock", "config", "wire", "weights", "lifecycle", "serve", "cli")
    } == {
        "errors": 0,
        "values": 0,
        "clock": 0,
        "config": 1,
        "wire": 1,
        "weights": 2,
        "lifecycle": 3,
        "serve": 4,
        "cli": 5,
    }


def test_every_room_is_drawn() -> None:
    assert {room(name_of(file)) for file in FILES} <= set(FLOORS)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_down(file: Path) -> None:
    here = room(name_of(file))
    for line, module in imports(file):
        there = room(module)
        is_own = there == here
        assert is_own or FLOORS[there] < FLOORS[here], (
            f"{file.relative_to(ROOT)}:{line}: {here} (floor {FLOORS[here]}) imports {module} (floor {FLOORS[there]})"
        )


def test_imports_are_absolute() -> None:
    relative = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def loaded_by(code: str) -> set[str]:
    """The modules that are there after `code` ran in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def heavy(modules: set[str]) -> set[str]:
    """Those of `HEAVY` that are among them, less what every interpreter here starts with (an editable install's finder)."""
    return (modules & set(HEAVY.split())) - loaded_by("")


def test_serving_path_loads_nothing_heavy() -> None:
    modules = loaded_by("import relight.serve.compose, relight.serve.run")
    assert "relight.serve.app" in modules
    assert heavy(modules) == set()


def test_serving_path_loads_no_command_line_of_ours() -> None:
    assert not [
        module for module in loaded_by("import relight.serve.compose, relight.serve.run") if module.startswith("relight.cli")
    ]


@pytest.mark.parametrize(("library", "module"), [("aiohttp", "relight.providers.provider"), ("limits", "relight.access.limits")])
def test_providers_and_limits_are_imported_without_their_library(library: str, module: str) -> None:
    assert library not in loaded_by(f"import {module}")
    assert library in HEAVY.split()


def test_first_metrics_scrape_is_what_loads_the_prometheus_library() -> None:
    assert "prometheus_client" in loaded_by("from relight.telemetry.metrics import *; exposition(Metrics(), {})")


@pytest.mark.parametrize("module", ["relight.engines.launch", "relight.engines.llamacpp_child"])
def test_what_runs_before_every_wake_needs_the_standard_library_only(module: str) -> None:
    tree = ast.parse((ROOT / "src" / f"{module.replace('.', '/')}.py").read_text())
    top = {name for node in tree.body if isinstance(node, ast.Import) for name in (alias.name for alias in node.names)}
    top |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in top} <= sys.stdlib_module_names


def test_package_itself_loads_next_to_nothing() -> None:
    assert not heavy(loaded_by("import relight"))
    assert not {"asyncio", "msgspec", "uvicorn", "click"} & loaded_by("import relight")

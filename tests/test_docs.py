"""The documents against the code, and the repository against what must not be in it."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from relight.cli.main import _COMMANDS, relight
from relight.config.keys import KEYS_VARIABLE
from relight.config.load import load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
# Put together from parts, so that this file does not find itself.
FORBIDDEN = re.compile(
    "|".join(
        [
            r"(?<![\w.~-])/(?:" + "|".join(["work", "root"]) + r")(?:/[\w.-]+)+",
            r"/home/(?!" + "USER" + r")\w+/",
            r"(?:files\.)?" + r"python" + r"hosted\.org",
            "py" + r"pi\.org",
            "registry" + r"\.npmjs",
            "deb" + r"\.debian\.org",
        ]
    )
)
TEXT_LIMIT = 2 << 20


def tracked() -> list[Path]:
    """Every file of the repository, with those that are new."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def snippets(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


# --- README -------------------------------------------------------------------------------------------------------


def configurations() -> list[str]:
    return snippets(README, "toml")


def test_readme_first_configuration_is_five_lines() -> None:
    assert len(configurations()[0].splitlines()) == 5


@pytest.mark.parametrize("snippet", configurations(), ids=lambda snippet: snippet.split("]")[0].strip("["))
def test_readme_configuration_loads_with_the_first_where_it_has_no_model_of_ours(tmp_path: Path, snippet: str) -> None:
    whole = snippet if "[models.smol]" in snippet or "[models.tiny]" in snippet else configurations()[0] + snippet
    (tmp_path / "relight.toml").write_text(whole, encoding="utf-8")
    assert load(tmp_path / "relight.toml", environ={}).config.models


def test_readme_configuration_names_the_weights_of_the_example() -> None:
    example = tomllib.loads((ROOT / "examples/portfolio/relight.toml").read_text(encoding="utf-8"))
    assert tomllib.loads(configurations()[0])["models"]["smol"]["source"] == example["models"]["smol"]["source"]


def test_example_loads_as_it_is_and_with_every_line_that_waits_to_be_uncommented(tmp_path: Path) -> None:
    text = (ROOT / "examples/portfolio/relight.toml").read_text(encoding="utf-8")
    (tmp_path / "relight.toml").write_text(re.sub(r"^#(?=[\[a-z])", "", text, flags=re.MULTILINE), encoding="utf-8")
    assert list(load(ROOT / "examples/portfolio/relight.toml", environ={}).config.models) == ["smol"]
    config = load(tmp_path / "relight.toml", environ={}).config
    assert list(config.models) == ["smol", "cloud", "best"]
    assert config.models["smol"].bridge == "cloud"
    assert (config.auth.keys.secret, config.limits.requests_per_minute) == (KEYS_VARIABLE, 60)


def test_readme_record_is_one_line_of_json_whose_phases_add_up() -> None:
    (snippet,) = snippets(README, "json")
    timings = json.loads(snippet)["interaction"]["timings"]
    phases = sum(timings[f"{phase}_ms"] for phase in ("queue", "mode", "wake", "restore", "prefill", "decode"))
    assert abs(phases - timings["total_ms"]) <= timings["total_ms"] / 100


def test_readme_curl_asks_the_assistant_of_the_example() -> None:
    line = next(line for line in README.splitlines() if "curl -N" in line)
    words = shlex.split(line[line.index("curl") :])
    example = tomllib.loads((ROOT / "examples/portfolio/relight.toml").read_text(encoding="utf-8"))
    assert json.loads(words[words.index("-d") + 1])["message"] == example["assistant"]["page"]["suggestions"][0]


@pytest.mark.parametrize(
    "snippet", snippets((ROOT / "docs/assistant.md").read_text(encoding="utf-8"), "toml"), ids=lambda s: s[:20]
)
def test_guides_configuration_loads_with_a_model(tmp_path: Path, snippet: str) -> None:
    (tmp_path / "relight.toml").write_text(configurations()[0] + snippet, encoding="utf-8")
    assert load(tmp_path / "relight.toml", environ={}).config.models


def test_readme_python_parses() -> None:
    code = snippets(README, "python")
    assert code
    for snippet in code:
        ast.parse(snippet)


def test_readme_lists_every_command_and_no_other() -> None:
    listed = re.findall(r"^\| `relight (\w+)` \|", README, re.MULTILINE)
    assert sorted(listed) == sorted(_COMMANDS)


def test_readme_shows_only_commands_that_are_there() -> None:
    used = re.findall(r"^\$ relight (\w+)(?: (\w+)(?![\w/.]))?", "\n".join(snippets(README, "console")), re.MULTILINE)
    assert used
    for name, inner in used:
        command = relight.get_command(click.Context(relight), name)
        assert command is not None, name
        assert not isinstance(command, click.Group) or not inner or inner in command.commands, f"{name} {inner}"


def test_readme_shows_only_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ )make ([a-z]+)", README, re.MULTILINE))
    assert {"run", "test"} <= named <= targets


# --- all pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    missing = [link for link in local if not (page.parent / unquote(link.partition("#")[0])).exists()]
    assert missing == []


def test_design_names_every_command_that_is_there() -> None:
    design = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    found = re.search(r"^### Command line\n`relight (.*?)`", design, re.MULTILINE | re.DOTALL)
    assert found is not None
    listed = {word.strip() for word in found[1].split("·")}
    # A shell's completion is part of any command line; the design lists what is Relight's own.
    assert set(_COMMANDS) - {"completion"} <= listed


def test_dependencies_page_has_a_row_for_each_direct_one_as_it_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *(line for lines in project["project"]["optional-dependencies"].values() for line in lines),
        *project["dependency-groups"]["dev"],
    ]
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in wanted}
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split())
    pinned = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    page = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w.-]+)(?: \([^|]*\))? \| (\d[^ |]*) \|", page, re.MULTILINE))
    assert rows == {name: pinned[name] for name in names}


def test_constraints_hold_versions_and_no_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


# --- the repository -----------------------------------------------------------------------------------------------


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked():
        content = path.read_bytes()
        if len(content) > TEXT_LIMIT or b"\0" in content[:8192]:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            if (match := FORBIDDEN.search(line)) is not None:
                found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert found == []


@pytest.mark.parametrize("line", ["/wo" + "rk/main/x", "see /ro" + "ot/.cache", "https://py" + "pi.org/simple"])
def test_what_is_forbidden_is_found(line: str) -> None:
    assert FORBIDDEN.search(line) is not None


def test_scripts_are_executable_and_parse() -> None:
    for name in ("scripts/setup", "scripts/setup-tests", ".ci/run"):
        assert (ROOT / name).stat().st_mode & 0o111, name
        assert subprocess.run(["bash", "-n", ROOT / name], check=False).returncode == 0, name

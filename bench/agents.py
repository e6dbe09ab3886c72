"""What a snapshot of an agent's own prompt saves: each agent that is installed is recorded by itself, and its prefix baked.

The agents are those of `scripts/setup-agents`; nothing of their prompts is kept. The model is Gemma 3 270M, whose context holds
them all, with a template of the bench's own, because the one that it falls back on leaves tools out. `BENCH_AGENTS=pi,aider`
takes some alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bench.gemma import gemma
from bench.leftovers import end_at_home
from bench.report import Report
from bench.wire import ENVIRONMENT, free_port

_INSTALLED: Final = Path(os.environ.get("RELIGHT_AGENTS", Path.home() / ".cache" / "relight" / "agents"))
_RELIGHT: Final = str(Path(sys.executable).with_name("relight"))
_CONTEXT: Final = 32768
_RECORD_S: Final = 300
_BAKE_S: Final = 1200
_NOT_ALL: Final = 1  # what `relight bake` ends with when it could not make one, and says which and why
_TEMPLATE: Final = (
    "{% for message in messages %}<start_of_turn>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content or [] %}{{ part.text or '' }}{% endfor %}{% endif %}"
    "{% if loop.first and tools %}\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}{% endif %}"
    "{% if message.tool_calls %}{{ message.tool_calls | tojson }}{% endif %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def run() -> Report:
    """Record and bake one agent after the other, least first; one that cannot be recorded is left out, and the notes say why."""
    wanted = os.environ.get("BENCH_AGENTS")
    report = Report("Agents' own prompts, read by Gemma 3 270M or taken back from a snapshot")
    for folder in sorted(_INSTALLED.glob("*/.ready")):
        name, _, version = folder.parent.name.rpartition("-")
        if wanted is None or name in wanted.split(","):
            try:
                baked = _baked(name, folder.parent / "bin")
            except RuntimeError as error:
                report.notes.append(f"left out: {name}: {error}")
            else:
                _add(report, f"{name} {version}", baked)
    report.notes.append("read: by an engine that knows nothing of it; taken back: into an empty slot, checked before")
    return report


def _add(report: Report, name: str, baked: Mapping[str, Any]) -> None:
    restore_s, saved_s = baked["restore_s"], baked["saves_s"]
    print(f"bench: {name}: {baked['tokens']} tokens, {restore_s + saved_s:.1f} s, {restore_s:.2f} s", file=sys.stderr)
    report.add(f"{name}: prefix", "tokens", [baked["tokens"]])
    report.add(f"{name}: read", "s", [restore_s + saved_s])
    report.add(f"{name}: taken back", "s", [restore_s])
    report.add(f"{name}: snapshot", "MB", [baked["size"] / 1e6])


def _baked(name: str, programs: Path) -> Mapping[str, Any]:
    """What `relight bake` measured; raises `RuntimeError` with the last words of what failed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder)
        (home / "relight.toml").write_text(_config())
        path = os.pathsep.join([str(programs), *_others(programs), ENVIRONMENT.get("PATH", os.defpath)])
        env = {
            **ENVIRONMENT,
            "HOME": folder,
            "XDG_STATE_HOME": f"{folder}/state",
            "PATH": path,
            "RELIGHT_KEY": "none",
            "IS_SANDBOX": "1",
        }
        url = f"http://127.0.0.1:{free_port()}"
        try:
            _command(home, env, 120, "connect", name, "--url", url, "--model", "smol", "--stock", "--yes", "--json")
            _command(home, env, _RECORD_S, "prefixes", "record", "--agent", name, "--json")
        finally:
            end_at_home(home)
        (baked,) = json.loads(_command(home, env, _BAKE_S, "bake", "--json", fine=(0, _NOT_ALL)))
    if baked["state"] != "made":
        raise RuntimeError(baked["reason"])
    return dict(baked)


def _others(programs: Path) -> Iterator[str]:
    """The router starts another client."""
    yield from (
        str(each.parent / "bin") for each in _INSTALLED.glob("claude-code-[0-9]*/.ready") if each.parent / "bin" != programs
    )


def _command(home: Path, env: Mapping[str, str], most_s: int, *words: str, fine: tuple[int, ...] = (0,)) -> str:
    try:
        done = subprocess.run([_RELIGHT, *words], cwd=home, env=env, capture_output=True, text=True, timeout=most_s, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"relight {words[0]} took more than {most_s} s") from None
    if done.returncode not in fine:
        raise RuntimeError(f"relight {words[0]}: {(done.stderr.strip() or done.stdout).splitlines()[-1]}")
    return done.stdout


def _config() -> str:
    settings = [f"--chat-template={_TEMPLATE}"]
    return (
        f'[models.smol]\nsource = "file:{gemma()}"\ncontext = {_CONTEXT}\nparallel = 1\nargs = {json.dumps(settings)}\n'
        '[prefixes]\ndir = "snapshots"\nbake = ["prefixes/*.json"]\n'
    )

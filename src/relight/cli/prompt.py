"""`relight prompt`: what a model is really told, section by section, with what it costs in tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import msgspec

from relight.cli.output import config_option, json_option, print_json, print_table
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded, load
from relight.decoding import NOT_JSON
from relight.errors import UsageError
from relight.values import estimated_tokens

if TYPE_CHECKING:
    from relight.assistant.conversation import Conversation
    from relight.assistant.draft import Draft
    from relight.assistant.modes import Detection
    from relight.serve.desk import Equipment


class Section(msgspec.Struct, frozen=True):
    """A part of a prompt, as `--json` prints it; `tokens` is an estimate unless `exact`."""

    name: str
    text: str
    tokens: int


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A whole prompt."""

    mode: str | None
    by: str
    confidence: float | None
    reply: str | None = None
    """The answer, where no model is asked; then nothing below is said."""
    model: str | None = None
    exact: bool = False
    """Whether tokens were counted by the model's own vocabulary."""
    total: int = 0
    """Tokens of all that the model reads, its template's own included."""
    dropped_messages: int = 0
    sections: list[Section] = []
    request: dict[str, Any] = {}
    """The chat request, as its backend is asked."""


@click.group()
def prompt() -> None:
    """What the assistant's model is told."""


@prompt.command()
@click.argument("question")
@click.option("--mode", "-m", metavar="NAME", help="Show this mode; without it the mode is detected.")
@click.option(
    "--history",
    "history_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file with earlier messages: a list of objects with role and content.",
)
@click.option("--estimate", is_flag=True, help="Estimate tokens from lengths instead of starting the engine to count them.")
@config_option
@json_option
def show(  # noqa: PLR0913 - one parameter an option
    question: str, mode: str | None, history_file: Path | None, config_file: str, *, estimate: bool, as_json: bool
) -> None:
    """Print exactly what is sent for QUESTION, with the tokens of each section.

    A model of ours counts with its own vocabulary, for which its engine is started for a moment; for a provider's model the
    tokens are an estimate, four bytes each. Hooks are not called.
    """
    from relight.assistant.conversation import conversation

    loaded = load(config_file)
    section = loaded.config.assistant
    if not section.is_there:
        raise UsageError(f"{config_file}: has no assistant", hint="configure [assistant]; relight config example shows how")
    if mode is not None and mode not in section.modes:
        raise UsageError(f'--mode: there is no "{mode}"', hint=f"there is: {', '.join(section.modes) or 'none'}")
    messages = [*_history(history_file), {"role": "user", "content": question}]
    talk = conversation(messages, max_message=section.max_message, max_history=section.max_history)
    shown = asyncio.run(_shown(loaded, talk, mode, estimate=estimate))
    if as_json:
        print_json(shown)
    else:
        _print(shown)


def _history(file: Path | None) -> list[Any]:
    if file is None:
        return []
    try:
        found = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}", hint="name a JSON file with earlier messages") from None
    except NOT_JSON as error:
        raise UsageError(f"{file}: is not JSON ({error})", hint='it should hold a list like [{"role": "user", …}]') from None
    if not isinstance(found, list):
        raise UsageError(f"{file}: should hold a list of messages", hint='like [{"role": "user", "content": "hi"}]')
    return found


async def _shown(loaded: Loaded, talk: Conversation, mode: str | None, *, estimate: bool) -> Shown:
    from relight.assistant.aside import Aside, look_up
    from relight.assistant.draft import Draft
    from relight.assistant.prompts import load_prompts
    from relight.cli.recorded import has_grammar
    from relight.config.assistant import Mode
    from relight.serve.equip import equipment, model_of

    section = loaded.config.assistant
    prompts = load_prompts(section, loaded.folder, loaded.config.service.name)
    equipped = await asyncio.to_thread(equipment, loaded, prompts, lambda text: click.echo(text, err=True))
    found = _detected(talk, mode, equipped, section.default_mode)
    said = section.modes.get(found.mode or "") or Mode()
    model = said.model or model_of(loaded)
    can_quote = section.quote and has_grammar(loaded.config.models[model])
    aside = Aside()
    if (library := equipped.searched(can_quote=can_quote)) is not None:
        aside = look_up(library, talk, section, can_quote=can_quote)
    passages = "".join(aside.texts)
    if (reply := said.reply or aside.reply) is not None:
        return Shown(mode=found.mode, by=found.by, confidence=found.confidence, reply=reply)
    draft = Draft(said, equipped.prompts.system(found.mode), talk, aside.texts, {}, model)
    if aside.grammar is not None:
        draft = draft.quoting(aside.grammar, section.subject)
    chat = draft.chat(equipped.prompts.schemas.get(found.mode or ""), 0)
    sections = _sections(draft, passages)
    counts = None if estimate else await _counted(loaded, model, chat, [text for _, text in sections])
    exact = counts is not None
    if counts is None:
        from relight.serve.inner import estimate as estimated

        counts = [estimated(chat), *(estimated_tokens(len(text.encode())) for _, text in sections)]
    total, *each = counts
    return Shown(
        mode=found.mode,
        by=found.by,
        confidence=found.confidence,
        model=model,
        exact=exact,
        total=total,
        dropped_messages=draft.talk.dropped,
        sections=[Section(name, text, tokens) for (name, text), tokens in zip(sections, each, strict=True)],
        request=chat,
    )


def _detected(talk: Conversation, mode: str | None, equipped: Equipment, default: str | None) -> Detection:
    from relight.assistant.modes import Detection

    if mode is not None:
        return Detection(mode=mode, confidence=1.0, by="explicit")
    if equipped.detector is None:
        return Detection(mode=default, confidence=None, by="default")
    return equipped.detector.detect(talk.message, talk.history)


def _sections(draft: Draft, passages: str) -> list[tuple[str, str]]:
    parts = [(part.name, part.text) for part in draft.system]
    parts += [(said.role, said.text) for said in draft.talk.history]
    return [*parts, *([("passages", passages)] if passages else []), ("question", draft.talk.message)]


async def _counted(loaded: Loaded, name: str, chat: dict[str, Any], texts: Sequence[str]) -> list[int] | None:
    """Tokens of the whole prompt, then of each text, by the model's engine; `None` where no engine of ours can say."""
    from relight.cli.trial import running
    from relight.clock import SystemClock
    from relight.engines.kinds import engine_for, spec_for
    from relight.engines.slots import Slots
    from relight.weights.wanted import require

    model = loaded.config.models[name]
    if kind(model) is not Kind.OURS or not engine_for(model.engine, model.task).capabilities.slots:
        return None
    weights = require(name, model, loaded.folder, loaded.config.weights.dir)
    with TemporaryDirectory(prefix="relight-") as folder:
        spec = spec_for(name, model, weights, Path(folder) / "count.sock")
        async with running(model, spec, model.wake_timeout, SystemClock()) as engine:
            slots = Slots(engine.address)
            whole = len(await slots.tokens({"messages": chat["messages"]}))
            return [whole, *[await slots.count(text) for text in texts]]


def _print(shown: Shown) -> None:
    sure = "" if shown.confidence is None else f", {shown.confidence:.2f}"
    about_mode = f"mode {shown.mode or 'none'} ({shown.by}{sure})"
    if shown.reply is not None:
        click.echo(f"{about_mode}: no model is asked; the answer is\n\n{shown.reply}")
        return
    for section in shown.sections:
        click.echo(click.style(f"── {section.name} ", bold=True) + click.style("─" * max(3, 60 - len(section.name)), dim=True))
        click.echo(section.text)
        click.echo()
    about = "" if shown.exact else "about "
    template = shown.total - sum(section.tokens for section in shown.sections)
    rows: list[tuple[object, ...]] = [(section.name, f"{about}{section.tokens}") for section in shown.sections]
    rows += [("template", f"{about}{template}"), ("total", f"{about}{shown.total}")]
    click.echo(f"{about_mode}, asked of {shown.model}")
    print_table(("section", "tokens"), rows)
    settings = {name: value for name, value in shown.request.items() if name not in ("messages", "model")}
    if settings:
        click.echo(f"with {msgspec.json.encode(settings).decode()}")

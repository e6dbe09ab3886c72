"""`relight modes`: prepare a detector, measure it on labelled messages, have it explain itself, fit its threshold."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click
import msgspec

from relight.assistant.conversation import Said
from relight.assistant.detector import build, open_embedder
from relight.assistant.evaluation import NONE, Evaluation, Outcome, evaluate, outcomes
from relight.assistant.fitting import Fit, Quality, fit
from relight.assistant.labelled import Labelled, rated, read
from relight.assistant.topics import taught
from relight.cli.files import write_text
from relight.cli.output import config_option, json_option, print_json, print_table
from relight.cli.threshold import with_threshold
from relight.config.assistant import DetectorKind
from relight.config.load import Loaded, load
from relight.decoding import NOT_JSON
from relight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relight.assistant.modes import Detector

_T = TypeVar("_T")
_detector_option = click.option(
    "--detector", type=click.Choice([str(kind) for kind in DetectorKind]), help="Use this one instead of assistant.detector."
)


@click.group()
def modes() -> None:
    """Measure, explain and fit how the assistant picks a mode."""


@modes.command("prepare")
@_detector_option
@config_option
def prepare_command(detector: str | None, config_file: str) -> None:
    """Download and prepare what the detector reads (83 MB, once); what is here already is left alone."""
    from relight.cli.preparing import prepare

    loaded = load(config_file)
    kind = _kind(loaded, detector)
    made = prepare([kind], loaded.weights_dir, _progress())
    click.echo(f"{kind}: {'prepared' if made else 'already here'}")


@modes.command("eval")
@click.argument("file", metavar="FILE.jsonl", type=click.File("rb"))
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Write the confusion matrix to this SVG file.")
@_detector_option
@config_option
@json_option
def eval_command(file: BinaryIO, picture: Path | None, detector: str | None, config_file: str, *, as_json: bool) -> None:
    """Measure the detector on labelled messages, one JSON object a line: {"text": …, "mode": NAME or null}.

    Accuracy, precision and recall of each mode, what was taken for what, how in scope and out of scope are told apart, how much a
    confidence is worth, and the time that it takes.
    """
    loaded = load(config_file)
    asked = _detector(loaded, detector)
    found = _ask(asked, read(file, file.name, asked.names))
    told = evaluate(found, _judged(loaded, asked))
    if picture is not None:
        from relight.assistant.picture import draw

        write_text(picture, draw(f"{told.count} messages, detector {_kind(loaded, detector)}", told.confusion))
    if as_json:
        print_json(told)
    else:
        _print_evaluation(told)


@modes.command()
@click.argument("text")
@click.option("--history", type=click.File("rb"), help='What was said before: a JSON list of {"role": …, "content": …}.')
@_detector_option
@config_option
@json_option
def explain(text: str, history: BinaryIO | None, detector: str | None, config_file: str, *, as_json: bool) -> None:
    """Show which mode TEXT gets, and why: rules that hold, the nearest examples, the scores, the threshold."""
    asked = _detector(load(config_file), detector)
    said = _history(history)
    found = asked.detect(text, said)
    hits = asked.hits(text)
    classifier = asked.classifier
    nearest = classifier.nearest(text, said) if classifier else []
    if as_json:
        told: dict[str, Any] = {"detection": found, "rules": hits, "nearest": nearest}
        print_json(told | ({"threshold": classifier.threshold, "read_as": classifier.read_as(text)} if classifier else {}))
        return
    sure = "" if found.confidence is None else f", confidence {found.confidence:.2f}"
    click.echo(f"mode: {found.mode or NONE}, by {found.by}{sure}\nwhy:  {found.why}")
    if hits:
        print_table(("rule of", "as written", "found"), [(hit.mode, hit.rule, hit.found) for hit in hits])
    if classifier:
        click.echo(f"read as: {classifier.read_as(text)}")
        print_table(("similar", "mode", "message"), [(f"{one.similarity:.3f}", one.mode or NONE, one.text) for one in nearest])
        scores = sorted(found.scores.items(), key=lambda one: -one[1])
        print_table(("mode", "score"), [(name, f"{score:.3f}") for name, score in scores])


@modes.command("fit")
@click.argument("file", metavar="[FILE.jsonl]", type=click.File("rb"), required=False)
@click.option("--log", type=click.File("rb"), help="A log of the service; answers that were rated count as labelled.")
@click.option("--write", is_flag=True, help="Put the threshold into the configuration file; all else in it stays as it is.")
@config_option
@json_option
def fit_command(file: BinaryIO | None, log: BinaryIO | None, config_file: str, *, write: bool, as_json: bool) -> None:
    """Refit the threshold by labelled messages, by rated answers in a log, or both; print what it changes on held-out ones."""
    if file is None and log is None:
        raise UsageError("modes fit: nothing to fit by", hint="name a file of labelled messages, or --log FILE")
    loaded = load(config_file)
    asked = _detector(loaded, None)
    if asked.classifier is None:
        raise UsageError("modes fit: no mode has examples, so there is no threshold", hint="add examples to assistant.modes")
    cases = [*(read(file, file.name, asked.names) if file else ()), *(rated(log) if log else ())]
    result = fit(_ask(asked, cases), asked.classifier.threshold)
    if write:
        path = Path(config_file)
        write_text(path, with_threshold(path.read_text(encoding="utf-8"), result.threshold))
    if as_json:
        print_json(result)
    else:
        _print_fit(result, written=config_file if write else None)


def _kind(loaded: Loaded, detector: str | None) -> DetectorKind:
    return DetectorKind(detector) if detector else loaded.config.assistant.detector


def _detector(loaded: Loaded, detector: str | None) -> Detector:
    section = loaded.config.assistant
    if not section.modes:
        raise UsageError("modes: this configuration has none", hint="describe some in [assistant.modes.NAME]")
    folder = loaded.weights_dir
    kind = _kind(loaded, detector)
    # A threshold was chosen for the detector it stands beside.
    threshold = section.threshold if kind is section.detector else None
    return build(
        taught(section.modes, loaded.folder),
        open_embedder(kind, folder),
        threshold=threshold,
        default=section.default_mode,
        subject=section.subject,
        weights_dir=folder,
    )


def _judged(loaded: Loaded, asked: Detector) -> list[str]:
    """The modes that messages are sorted into: not the default one, when it is what is left."""
    section = loaded.config.assistant.modes
    return [name for name in asked.names if section[name].examples or section[name].keywords or section[name].patterns]


def _ask(asked: Detector, cases: list[Labelled]) -> list[Outcome]:
    return outcomes(asked, _watched(cases, "asking"), time.perf_counter)


def _watched(things: list[_T], doing: str) -> Iterable[_T]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(things, doing, console=console, transient=True, disable=not console.is_terminal)


def _progress() -> Callable[[str, int, int], None]:
    """A line now and then: what takes long here takes half a minute."""
    said: dict[str, int] = {}

    def tell(doing: str, done: int, total: int) -> None:
        tenth = 10 * done // max(1, total)
        if said.get(doing) != tenth:
            said[doing] = tenth
            click.echo(f"{doing} {10 * tenth} %", err=True)

    return tell


def _history(file: BinaryIO | None) -> list[Said]:
    if file is None:
        return []
    try:
        told = msgspec.json.decode(file.read(), type=list[dict[str, str]])
        return [Said(turn["role"], turn["content"]) for turn in told]
    except (*NOT_JSON, KeyError) as error:
        raise UsageError(f"{file.name}: {error}", hint='write [{"role": "user", "content": "…"}, …]') from None


def _print_evaluation(told: Evaluation) -> None:
    rows = [
        ("in scope: right mode", _percent(told.accuracy), f"of {told.in_scope}; {_percent(told.chosen)} when it has to choose"),
        ("all messages: right", _percent(told.overall), f"of {told.count}"),
    ]
    if told.scope is not None:
        apart = f"kept {_percent(told.scope.inside_recall)}, refused {_percent(told.scope.outside_recall)}"
        rows.append(("in and out of scope told apart", _percent(told.scope.balanced_accuracy), f"balanced; {apart}"))
        rows.append(("the same over all thresholds", f"{told.scope.auroc:.3f}", "AUROC"))
    rows.append(("confidence off by", _percent(told.ece), "on average (ECE)"))
    rows.append(("time, median", f"{told.p50_ms:.1f} ms", f"99 of 100 within {told.p99_ms:.1f} ms"))
    print_table(("what", "value", ""), rows)
    print_table(("kind", "right"), [(kind, _percent(share)) for kind, share in told.kinds.items()])
    scores = [(one.mode, one.support, *(_percent(value) for value in (one.precision, one.recall, one.f1))) for one in told.modes]
    print_table(("mode", "messages", "precision", "recall", "F1"), scores)
    names = list(told.confusion)
    cells = [(row, *(count or "·" for count in told.confusion[row].values())) for row in names]
    print_table(("right ↓ found →", *names), cells)
    bins = [(f"{b.low:.1f}-{b.high:.1f}", b.count, _percent(b.confidence), _percent(b.accuracy)) for b in told.calibration]
    print_table(("confidence", "answers", "mean", "were right"), bins)


def _print_fit(result: Fit, *, written: str | None) -> None:
    def row(name: str, threshold: str, quality: Quality) -> tuple[str, ...]:
        values = (quality.right, quality.balanced, quality.inside_kept, quality.outside_refused)
        return (name, threshold, *(_percent(value) for value in values))

    chosen = f"{min(result.chosen):.3f}-{max(result.chosen):.3f}"
    rows = [row("before", f"{result.old:.3f}", result.before), row("after", chosen, result.after)]
    columns = ("on held-out messages", "threshold", "right", "told apart", "kept in scope", "refused out of scope")
    print_table(columns, rows, title=f"{result.count} messages, each measured with the threshold that the others chose")
    if written:
        click.echo(f"{written}: assistant.threshold = {result.threshold}")
    else:
        click.echo(f"in relight.toml, below [assistant]:\nthreshold = {result.threshold}")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"

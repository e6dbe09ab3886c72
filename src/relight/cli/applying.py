"""A deployment from this machine: looks, plans, asks whether to go on, and goes on. Composes; the steps are in `cloud/`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relight.cli.connected import project_of
from relight.cli.talk import KEY_VARIABLE
from relight.cli.target import facts_of, judged
from relight.cloud.google import Google, NotSignedIn, signed_in
from relight.cloud.work import Here
from relight.config.deploy import Placement
from relight.config.fields import SecretName
from relight.config.load import Loaded
from relight.config.secrets import resolve
from relight.deploy import quota
from relight.deploy.context import Entry
from relight.deploy.desired import Desired
from relight.deploy.facts import Builder
from relight.deploy.findings import Case
from relight.deploy.plan import Plan
from relight.deploy.sizing import shape_of
from relight.deploy.steps import Step
from relight.errors import ConfigError, UsageError
from relight.weights.wanted import require

if TYPE_CHECKING:
    from relight.cli.progress import Progress
    from relight.cloud.apply import Applier
    from relight.cloud.receipt import Receipt
    from relight.deploy.observed import Observed


class Site:
    """Where a deployment begins: a configuration, the machine that it lies on, and a project that was looked at."""

    def __init__(self, loaded: Loaded, config_file: str, google: Google, builder: Builder, progress: Progress) -> None:
        self.loaded, self.google = loaded, google
        self.progress = progress
        self._config_file, self._builder = config_file, builder
        self._typed: dict[str, str] = {}
        # Once: what somebody says yes to is what is done, also when files change meanwhile.
        self._facts = facts_of(loaded, builder=builder)
        self.case: Case | None = None

    def look(self) -> tuple[Case, Plan]:
        """Look at the project and plan; `case` is what was seen last. Raises `CloudError`."""
        from relight.cloud.look import allowed, look

        case, _ = self._judged(None)
        run = self.loaded.config.deploy.cloudrun
        ids = [need.quota for need in quota.needs(shape_of(case), run.max_instances, zonal_redundancy=run.zonal_redundancy)]
        observed = look(self.google, case.desired, texts=self.text, quotas=ids, show=self.progress)
        case, _ = self._judged(observed)
        self.case, steps = self._judged(allowed(self.google, observed, case.desired, case.needs))
        self.progress.rest()
        return self.case, steps

    def _judged(self, observed: Observed | None) -> tuple[Case, Plan]:
        return judged(self.loaded, observed, typed=frozenset(self._typed), known=self._facts)

    def ask_for_secrets(self, case: Case) -> bool:
        """Ask whoever sits at the terminal for texts that are neither here nor in the cloud; whether there were any."""
        there = {} if case.observed is None else case.observed.secrets
        missing = [
            need.variable
            for need in case.desired.secrets
            if self.text(need.variable) is None and not ((state := there.get(need.secret)) and state.latest)
        ]
        for variable in missing:
            text = click.prompt(f"{variable} (not shown; kept in Secret Manager only)", hide_input=True, err=True)
            self._typed[variable] = str(text).strip()
        return bool(missing)

    def text(self, variable: str) -> str | None:
        """The text of a secret that is here, or was typed."""
        try:
            found = resolve(SecretName(secret=variable), self.loaded.folder, os.environ, key=variable)
        except ConfigError:
            found = None
        return found.reveal() if found is not None else self._typed.get(variable)

    def applier(self, desired: Desired) -> Applier:
        """Who does the steps."""
        from relight.cloud.apply import Applier
        from relight.cloud.trial import wanted

        here = Here(
            secret=self.text,
            weights=self._weights,
            context=lambda: self._context(with_weights=desired.placement is Placement.IMAGE),
            folder=self.loaded.weights_dir,
        )
        wants = wanted(self.loaded.config, os.environ.get(KEY_VARIABLE, "").strip() or None)
        return Applier(self.google, desired, here, wants, self.progress)

    def _weights(self, name: str) -> Path:
        config = self.loaded.config
        return require(name, config.models[name], self.loaded.folder, config.weights.dir)

    @contextmanager
    def _context(self, *, with_weights: bool) -> Iterator[Sequence[Entry]]:
        from relight.cli.imaging import made, read

        with made(read(self._config_file), self.progress.say, with_weights=with_weights) as found:
            self._need_same()
            yield found.entries
            self._need_same()

    def _need_same(self) -> None:
        """An image's tag says what it is made of, so it is made of nothing else, nor of what nobody said yes to."""
        if facts_of(self.loaded, builder=self._builder).inputs != self._facts.inputs:
            raise UsageError(
                "deploy: files that the image is made of were changed meanwhile, so it was not built", hint="run it again"
            )


def site(loaded: Loaded, config_file: str, builder: Builder, progress: Progress) -> Site:
    """The project that the configuration names, asked by whoever is signed in. Raises `NotSignedIn`, `ConfigError`."""
    project, region = project_of(loaded)
    progress.doing("asking who is signed in")
    return Site(loaded, config_file, signed_in(project, region), builder, progress)


def looked(loaded: Loaded, config_file: str, builder: Builder = Builder.CLOUD) -> tuple[Case, Plan, str | None]:
    """The case and the plan, and why nobody asked the cloud: a plan can be read without an account as well."""
    from relight.cli.progress import Progress

    if loaded.config.deploy.cloudrun.project is None:
        return *judged(loaded, None, builder=builder), "no project is named"
    try:
        with Progress() as progress:
            case, steps = site(loaded, config_file, builder, progress).look()
    except NotSignedIn as error:
        return *judged(loaded, None, builder=builder), error.message.removeprefix("cloud: ")
    return case, steps, None


class Told:
    """Tells about the steps as they go: one line each, with the seconds that it took."""

    def __init__(self, progress: Progress, now: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._now = progress, now
        self._steps: tuple[Step, ...] = ()
        self._number, self._began = 0, 0.0
        self.doing: Step | None = None
        """The step that has begun and not ended."""

    def planned(self, steps: tuple[Step, ...]) -> None:
        """These are to be done."""
        self._steps, self._number = steps, 0

    def begins(self, step: Step) -> None:
        """One begins."""
        self._number, self._began, self.doing = self._number + 1, self._now(), step
        self._progress.hint(f"{self._place()} {step.kind}: {step.target}")

    def ends(self, step: Step) -> None:
        """It is done."""
        self._progress.rest()
        self._progress.say(f"{self._place()} {step.kind}: {step.target}  ({self._now() - self._began:.1f} s)")
        self.doing = None

    def again(self, reason: str) -> None:
        """It is looked anew."""
        self._progress.rest()
        self._progress.say(reason)

    def _place(self) -> str:
        width = len(str(len(self._steps)))
        return f"{self._number:>{width}}/{len(self._steps)}"


def receipt(site: Site, applier: Applier, *, steps: int, seconds: float) -> Receipt:
    """What stands now, as it was seen last."""
    from relight.cloud.receipt import Receipt

    case = site.case
    if case is None or case.observed is None:
        raise RuntimeError("a receipt of what nobody looked at")
    there, desired = case.observed.service, case.desired
    return Receipt(
        project=desired.project,
        region=desired.region,
        service=desired.service,
        url=None if there is None else there.uri,
        revision=None if there is None else there.latest_ready,
        image="" if there is None else there.template.image,
        steps=steps,
        seconds=round(seconds, 1),
        hour=None if case.costs is None else case.costs.hour,
        wake=None if case.costs is None else case.costs.wake,
        tail=None if case.costs is None else case.costs.tail,
        kept=0 if there is None else there.settings.min_instances,
        tested=applier.tried[-1] if applier.tried else None,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )

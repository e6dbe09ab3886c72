"""The `relight` command: finds the group that was called, imports only that one, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Final

import click

from relight import __version__
from relight.errors import ExitCode, RelightError

_COMMANDS: Final = {
    "serve": "relight.cli.serve:serve",
    "chat": "relight.cli.chat:chat",
    "init": "relight.cli.init:init",
    "config": "relight.cli.config:config",
    "docs": "relight.cli.docs:docs",
    "doctor": "relight.cli.doctor:doctor",
    "models": "relight.cli.models:models",
    "keys": "relight.cli.keys:keys",
    "bake": "relight.cli.bake:bake",
    "prefixes": "relight.cli.prefixes:prefixes",
    "modes": "relight.cli.modes:modes",
    "prompt": "relight.cli.prompt:prompt",
    "image": "relight.cli.image:image",
    "deploy": "relight.cli.deploy:deploy",
    "status": "relight.cli.status:status",
    "logs": "relight.cli.logs:logs",
    "rollback": "relight.cli.rollback:rollback",
    "off": "relight.cli.switch:off",
    "on": "relight.cli.switch:on",
    "destroy": "relight.cli.destroy:destroy",
    "connect": "relight.cli.connect:connect",
    "check": "relight.cli.check:check",
    "bridge": "relight.cli.bridge:bridge",
    "bench": "relight.cli.bench:bench",
    "completion": "relight.cli.completion:completion",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = _COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, name = target.split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="relight")
def relight() -> None:
    """AI services that go dark when idle and relight on request."""


def run(argv: list[str] | None = None, **context: Any) -> int:
    """Run one command and return its exit code; the only place where errors become text and a number."""
    try:
        code = relight.main(args=argv, prog_name="relight", standalone_mode=False, **context)
        # Outside its standalone mode click returns the code that `Context.exit` was called with.
        return code if isinstance(code, int) else ExitCode.OK
    except RelightError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away: not an error, but Python must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0

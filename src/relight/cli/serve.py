"""`relight serve`: the front door, from the command line."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from relight.cli.backend import provider_host
from relight.cli.early import listen
from relight.cli.output import config_option
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded, load
from relight.config.schema import Config, LogFormat, Model, Task
from relight.errors import ConfigError, UsageError, WeightsError
from relight.values import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relight.serve.front import Recorder
    from relight.telemetry.sinks import Sink
    from relight.weights.gguf import Header

_EXAMPLES: Final[dict[Task, tuple[str, dict[str, object]]]] = {
    Task.CHAT: ("/v1/chat/completions", {"stream": True, "messages": [{"role": "user", "content": "Say hello."}]}),
    Task.EMBED: ("/v1/embeddings", {"input": "Hello."}),
    Task.RERANK: ("/v1/rerank", {"query": "greeting", "documents": ["Hello.", "Goodbye."]}),
}
# What listens everywhere, and where this machine finds it.
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared
# The platform kills ten seconds after SIGTERM; what is not ended by then ends without a record.
_SLACK_S: Final = 1.0


@click.command()
@config_option
@click.option("--host", default=None, help="Address to listen on; wins over server.host.")
@click.option("--port", "-p", type=click.IntRange(0, 65535), default=None, help="Port to listen on; wins over PORT.")
@click.option("--public", is_flag=True, default=None, help="Serve other machines although no keys are configured.")
@click.option("--pull", is_flag=True, default=None, help="Download missing weights at the first wake.")
@click.option(
    "--log-format", type=click.Choice([item.value for item in LogFormat]), default=None, help="How records are written."
)
@click.pass_obj
def serve(  # noqa: PLR0913 - one parameter an option
    bound: socket.socket | None,
    config_file: str,
    *,
    host: str | None,
    port: int | None,
    public: bool | None,
    pull: bool | None,
    log_format: str | None,
) -> None:
    """Serve the models of a configuration. Nothing runs until somebody asks; idle engines go to sleep.

    With keys configured (auth.keys), every client has to send one, wherever it is.
    """
    flags = {
        "server.host": host,
        "server.port": port,
        "server.public": public,
        "weights.download": pull,
        "log.format": log_format,
    }
    serve_it(load(config_file, flags=flags), bound)


def serve_it(loaded: Loaded, bound: socket.socket | None, recorder: Recorder | None = None) -> None:
    """Listen and serve until SIGTERM or Ctrl-C; `bound` is a socket that listens already. A `recorder` is told what requests
    share."""
    server = loaded.config.server
    sock = _socket(bound, server.host, server.port)
    lacking = _check_weights(loaded)
    _read_ahead(loaded, lacking)
    from relight.serve.compose import create_app
    from relight.serve.run import run

    app = create_app(loaded, sink=_sink(loaded), recorder=recorder)
    _announce(loaded, sock, lacking)
    run(app, sock, grace_s=server.grace, slack_s=_SLACK_S)


def _socket(bound: socket.socket | None, host: str, port: int) -> socket.socket:
    if bound is not None and _is_at(bound, host, port):
        return bound
    if bound is not None:
        bound.close()
    try:
        return listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"server.port: {port} is taken on {host}",
                hint="stop what listens there, or choose another with --port or PORT=8081",
            ) from error
        raise UsageError(
            f"server.host: cannot listen on {host}:{port}: {error.strerror}", hint="check server.host and server.port"
        ) from error


def _is_at(bound: socket.socket, host: str, port: int) -> bool:
    name = bound.getsockname()
    try:
        wanted = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][4]
    except OSError:
        return False
    return name[0] == wanted[0] and port in (0, name[1])


def _sink(loaded: Loaded) -> Sink:
    from relight.telemetry.sinks import JsonLines, TextLines, to_stdout

    chosen = loaded.config.log.format
    as_text = chosen is LogFormat.TEXT or (chosen is LogFormat.AUTO and sys.stdout.isatty())
    return TextLines(to_stdout) if as_text else JsonLines(to_stdout)


def _check_weights(loaded: Loaded) -> dict[str, str]:
    """Why models cannot answer yet, by name: their weights are not here.

    Raises `ConfigError` for a context that the weights of another do not have, and for what `server.memory` can never hold.
    """
    from relight.weights.fit import context_problem
    from relight.weights.gguf import read_header
    from relight.weights.wanted import State, keeps_weights, state, wanted

    lacking = {}
    for name, model in loaded.config.models.items():
        if not keeps_weights(model):
            continue
        want = wanted(name, model, loaded.folder, loaded.config.weights.dir)
        found = state(want)
        if found is State.MISSING and not want.is_ours:
            lacking[name] = f"there is no file {want.path}, check models.{name}.source"
        elif found is not State.DOWNLOADED:
            if not loaded.config.weights.download:
                lacking[name] = f"run: relight models pull -c {loaded.path}"
        else:
            header = read_header(want.path)
            if problem := context_problem(header, model):
                raise ConfigError(f"models.{name}.context: {problem}")
            _check_memory(name, model, header, loaded.config.server.memory)
    return lacking


def _read_ahead(loaded: Loaded, lacking: Mapping[str, str]) -> None:
    """Have the weights that the first request most likely wants in the page cache, beside the imports."""
    from relight.weights.readahead import read_ahead
    from relight.weights.wanted import keeps_weights, wanted

    name = loaded.config.answering_model()
    if name is None or name in lacking or not keeps_weights(model := loaded.config.models[name]):
        return
    read_ahead(wanted(name, model, loaded.folder, loaded.config.weights.dir).path)


def _check_memory(name: str, model: Model, header: Header, limit: int | None) -> None:
    if limit is None:
        return
    from relight.weights.fit import memory_needed

    try:
        needed = memory_needed(header, model)
    except WeightsError:
        return  # a cache type that we do not know; the engine may
    if needed > limit:
        raise ConfigError(
            f'server.memory: model "{name}" needs about {format_bytes(needed)} awake, got {format_bytes(limit)}',
            hint=f"raise it, or lower models.{name}.context or parallel, or use a smaller model",
        )


def _program() -> str:
    """How this program was called, so that a line can be pasted also where it is not on the PATH."""
    called = Path(sys.argv[0])
    return "relight" if shutil.which("relight") else str(called)


def _announce(loaded: Loaded, sock: socket.socket, lacking: Mapping[str, str]) -> None:
    """Say where it is and what answers, with lines that work when pasted."""
    config = loaded.config
    host, port = sock.getsockname()[:2]
    shown = _ANY.get(host, f"[{host}]" if ":" in host else host)
    base, key = f"http://{shown}:{port}", _key_variable(config)
    lines = [*_who_answers(loaded, lacking), f"  page  {base}/"]
    if host in _ANY:
        lines.append(f"  also  http://{socket.gethostname()}:{port}/   # from other machines that know this one by its name")
    if key:
        lines.append(f"  key   export {key}=KEY   # one made with: {_program()} keys create NAME")
    if (options := _chat_options(config)) is not None:
        lines.append(f"  chat  {_program()} chat --url {base}{options}")
    lines += [f"  try   {_curl(config, base, key)}", "  stop  Ctrl-C"]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _who_answers(loaded: Loaded, lacking: Mapping[str, str]) -> Iterator[str]:
    """What stands behind the names: in the first line for one model, a line each for several."""
    models, service = loaded.config.models, loaded.config.service.name
    said = {name: _how_it_answers(name, model, lacking) for name, model in models.items()}
    if len(said) == 1:
        yield from (f"{service} is listening; {name} {words}." for name, words in said.items())
        return
    yield f"{service} is listening with {len(said)} models:"
    width = max(map(len, said))
    yield from (f"    {name:<{width}}  {words}" for name, words in said.items())


def _how_it_answers(name: str, model: Model, lacking: Mapping[str, str]) -> str:
    if name in lacking:
        return f"cannot answer yet, {lacking[name]}"
    if kind(model) is Kind.PROVIDER:
        return f"answered by {provider_host(model)}"
    return f"answered by {', else '.join(model.fallback)}" if kind(model) is Kind.LIST else "asleep until somebody asks"


def _chat_options(config: Config) -> str | None:
    """What `relight chat` has to be told beside the address; `None` where no model chats."""
    chatting = [name for name, model in config.models.items() if model.task is Task.CHAT]
    if not chatting:
        return None
    return "" if config.answering_model() in chatting else f" --model {chatting[0]}"


def _key_variable(config: Config) -> str | None:
    """The variable that clients on this machine take their key from, where one is asked for."""
    if config.auth.keys.secret is None:
        return None
    from relight.cli.talk import KEY_VARIABLE

    return KEY_VARIABLE


def _curl(config: Config, base: str, key_variable: str | None) -> str:
    """A request to the assistant, else to the default model, or to the first."""
    name = config.default_model() or next(iter(config.models))
    key = f' -H "authorization: Bearer ${key_variable}"' if key_variable else ""
    if name in config.models:
        path, body = _EXAMPLES[config.models[name].task]
        data = json.dumps({"model": name, **body})
    else:
        path, question = "/chat", next(iter(config.assistant.page.suggestions), "Hello!")
        data = json.dumps({"message": question, "stream": True})
    return f"curl -N {base}{path}{key} -H 'content-type: application/json' -d '{data}'"

"""The clients: how each is set up and started, and what it calls the tools that write and read a file. Starts nothing."""

from __future__ import annotations

import abc
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client works, and what it is pointed at; nothing of this machine's own set-up is read there."""

    folder: Path
    home: Path
    url: str  # of the front door
    model: str
    key: str
    context: int  # tokens
    output: int  # tokens
    port: int  # a free one, for a client that listens itself

    @property
    def v1(self) -> str:
        """Where the OpenAI dialects are."""
        return f"{self.url}/v1"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the client's own tools."""

    tool: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        return f"tool={self.tool} args={json.dumps(self.arguments)}"


class Client(Protocol):
    """What is known of one client."""

    name: str
    runs: str  # the program
    dialect: str

    def files(self, place: Place) -> Mapping[str, str]:
        """Its settings: paths under its home, and what is in them."""

    def environment(self, place: Place) -> Mapping[str, str]:
        """What is exported for it."""

    def arguments(self, place: Place, prompt: str) -> tuple[str, ...]:
        """What comes after the program's name for one task without a person."""

    def task(self, prompt: str) -> tuple[str, ...]:
        """The part of it that says what to do, and that nobody is asked; the rest is set up by `relight connect`."""

    def alone(self, place: Place) -> Mapping[str, str]:
        """What is exported for a client without a person, beside its set-up."""

    def plan(self, file: Path, content: str, fault: str) -> str:
        """What the engine shall answer: have the file made, have it read (and `fault` with it), say done and what was read."""


class Caller(abc.ABC):
    """A client with tools: it is asked to call them one after the other."""

    def arguments(self, place: Place, prompt: str) -> tuple[str, ...]:
        """See `Client.arguments`."""
        return self.task(prompt)

    @abc.abstractmethod
    def task(self, prompt: str) -> tuple[str, ...]:
        """See `Client.task`."""

    def alone(self, place: Place) -> Mapping[str, str]:
        """See `Client.alone`."""
        return {}

    @abc.abstractmethod
    def write(self, file: Path, content: str) -> Call:
        """The call that makes a file."""

    @abc.abstractmethod
    def read(self, file: Path) -> Call:
        """The call that reads it."""

    def plan(self, file: Path, content: str, fault: str) -> str:
        """See `Client.plan`."""
        steps = (self.write(file, content), f"{fault}{self.read(file)}", 'text="done: {result}"')
        return " ".join(["text=hello.txt", *(f"step={number} {step}" for number, step in enumerate(steps))])


class QwenCode(Caller):
    """Its tools want absolute paths."""

    name = "qwen-code"
    runs = "qwen"
    dialect = "chat"

    def files(self, place: Place) -> Mapping[str, str]:
        return {".qwen/settings.json": json.dumps({"privacy": {"usageStatisticsEnabled": False}})}

    def environment(self, place: Place) -> Mapping[str, str]:
        return {"OPENAI_API_KEY": place.key, "OPENAI_BASE_URL": place.v1, "OPENAI_MODEL": place.model}

    def arguments(self, place: Place, prompt: str) -> tuple[str, ...]:
        return ("--auth-type", "openai", *self.task(prompt))

    def task(self, prompt: str) -> tuple[str, ...]:
        return ("--approval-mode", "yolo", "-p", prompt)

    def write(self, file: Path, content: str) -> Call:
        return Call("write_file", {"file_path": str(file), "content": content})

    def read(self, file: Path) -> Call:
        return Call("read_file", {"file_path": str(file)})


class OpenCode(Caller):
    """Asks for a title beside its task, without tools."""

    name = "opencode"
    runs = "opencode"
    dialect = "chat"

    def files(self, place: Place) -> Mapping[str, str]:
        limit = {"context": place.context, "output": place.output}
        options = {"baseURL": place.v1, "apiKey": place.key}
        models = {place.model: {"name": place.model, "limit": limit}}
        local = {"npm": "@ai-sdk/openai-compatible", "name": "Local", "options": options, "models": models}
        return {
            ".config/opencode/opencode.json": json.dumps({"provider": {"local": local}, "autoupdate": False, "share": "disabled"})
        }

    def environment(self, place: Place) -> Mapping[str, str]:
        return {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}

    def arguments(self, place: Place, prompt: str) -> tuple[str, ...]:
        return (*self.task(prompt), "--model", f"local/{place.model}")

    def task(self, prompt: str) -> tuple[str, ...]:
        return ("run",)  # the prompt comes on standard input: as an argument its quotes are changed

    def write(self, file: Path, content: str) -> Call:
        return Call("write", {"filePath": str(file), "content": content})

    def read(self, file: Path) -> Call:
        return Call("read", {"filePath": str(file)})


class ClaudeCode(Caller):
    """Speaks messages; writes system text between the messages."""

    name = "claude-code"
    runs = "claude"
    dialect = "messages"

    def files(self, place: Place) -> Mapping[str, str]:
        return {}

    def environment(self, place: Place) -> Mapping[str, str]:
        models = {f"ANTHROPIC_DEFAULT_{size}_MODEL": place.model for size in ("HAIKU", "SONNET", "OPUS")}
        return {
            "ANTHROPIC_BASE_URL": place.url,
            "ANTHROPIC_AUTH_TOKEN": place.key,
            "ANTHROPIC_MODEL": place.model,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            **self.alone(place),
            **models,
        }

    def alone(self, place: Place) -> Mapping[str, str]:
        return {"IS_SANDBOX": "1"}  # may be root

    def task(self, prompt: str) -> tuple[str, ...]:
        return ("--dangerously-skip-permissions", "-p", prompt)

    def write(self, file: Path, content: str) -> Call:
        return Call("Write", {"file_path": str(file), "content": content})

    def read(self, file: Path) -> Call:
        return Call("Read", {"file_path": str(file)})


class Codex(Caller):
    """Speaks responses; files are made and read in a shell."""

    name = "codex"
    runs = "codex"
    dialect = "responses"

    def files(self, place: Place) -> Mapping[str, str]:
        lines = [
            f'model = "{place.model}"',
            'model_provider = "local"',
            f"model_context_window = {place.context}",
            "check_for_update_on_startup = false",
            "[analytics]",
            "enabled = false",
            "[model_providers.local]",
            'name = "Local"',
            f'base_url = "{place.v1}"',
            'env_key = "LOCAL_KEY"',
            'wire_api = "responses"',
        ]
        return {".codex/config.toml": "\n".join(lines)}

    def environment(self, place: Place) -> Mapping[str, str]:
        return {"LOCAL_KEY": place.key}

    def task(self, prompt: str) -> tuple[str, ...]:
        return ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", prompt)

    def write(self, file: Path, content: str) -> Call:
        return Call("exec_command", {"cmd": f"printf %s '{content}' > {file}"})

    def read(self, file: Path) -> Call:
        return Call("exec_command", {"cmd": f"cat {file}"})


class ClaudeCodeRouter(ClaudeCode):
    """Claude Code through a router of its own, which makes a chat of each message."""

    name = "claude-code-router"
    runs = "ccr"
    dialect = "chat"

    def files(self, place: Place) -> Mapping[str, str]:
        provider = {
            "name": "local",
            "api_base_url": f"{place.v1}/chat/completions",
            "api_key": place.key,
            "models": [place.model],
        }
        router = {"default": f"local,{place.model}"}
        config = {"PORT": place.port, "LOG": False, "NON_INTERACTIVE_MODE": True, "Providers": [provider], "Router": router}
        return {".claude-code-router/config.json": json.dumps(config)}

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "SERVICE_PORT": str(place.port),
            **self.alone(place),
        }

    def arguments(self, place: Place, prompt: str) -> tuple[str, ...]:
        return ("code", *self.task(prompt))


class OpenHands(Caller):
    """Does not stream; every call says how risky it is."""

    name = "openhands"
    runs = "openhands"
    dialect = "chat"

    def files(self, place: Place) -> Mapping[str, str]:
        return {}

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "LLM_MODEL": f"openai/{place.model}",
            "LLM_BASE_URL": place.v1,
            "LLM_API_KEY": place.key,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "OPENHANDS_SUPPRESS_BANNER": "1",
        }

    def arguments(self, place: Place, prompt: str) -> tuple[str, ...]:
        return ("--override-with-envs", *self.task(prompt))

    def task(self, prompt: str) -> tuple[str, ...]:
        return ("--headless", "--always-approve", "-t", prompt)

    def write(self, file: Path, content: str) -> Call:
        return self._edit({"command": "create", "path": str(file), "file_text": content})

    def read(self, file: Path) -> Call:
        return self._edit({"command": "view", "path": str(file)})

    def _edit(self, arguments: dict[str, str]) -> Call:
        return Call("file_editor", {**arguments, "security_risk": "LOW", "summary": "hello"})


class Pi(Caller):
    """The smallest prompt of all."""

    name = "pi"
    runs = "pi"
    dialect = "chat"

    def files(self, place: Place) -> Mapping[str, str]:
        model = {"id": place.model, "contextWindow": place.context, "maxTokens": place.output}
        local = {"baseUrl": place.v1, "api": "openai-completions", "apiKey": place.key, "models": [model]}
        return {".pi/agent/models.json": json.dumps({"providers": {"local": local}})}

    def environment(self, place: Place) -> Mapping[str, str]:
        return {"PI_OFFLINE": "1"}

    def arguments(self, place: Place, prompt: str) -> tuple[str, ...]:
        return ("--provider", "local", "--model", place.model, *self.task(prompt))

    def task(self, prompt: str) -> tuple[str, ...]:
        return ("-p", prompt)

    def write(self, file: Path, content: str) -> Call:
        return Call("write", {"path": str(file), "content": content})

    def read(self, file: Path) -> Call:
        return Call("read", {"path": str(file)})


class Continue(Caller):
    """Its command line."""

    name = "continue"
    runs = "cn"
    dialect = "chat"

    def files(self, place: Place) -> Mapping[str, str]:
        lines = [
            "name: local",
            "version: 0.0.1",
            "schema: v1",
            "models:",
            f"  - name: {place.model}",
            "    provider: openai",
            f"    model: {place.model}",
            f"    apiBase: {place.v1}",
            f"    apiKey: {place.key}",
            "    roles: [chat]",
            "    capabilities: [tool_use]",
            f"    defaultCompletionOptions: {{contextLength: {place.context}, maxTokens: {place.output}}}",
        ]
        return {"config.yaml": "\n".join(lines)}

    def environment(self, place: Place) -> Mapping[str, str]:
        return {"CONTINUE_TELEMETRY_ENABLED": "0"}

    def arguments(self, place: Place, prompt: str) -> tuple[str, ...]:
        return ("--config", str(place.home / "config.yaml"), *self.task(prompt))

    def task(self, prompt: str) -> tuple[str, ...]:
        return ("--auto", "-p", prompt)

    def write(self, file: Path, content: str) -> Call:
        return Call("Write", {"filepath": str(file), "content": content})

    def read(self, file: Path) -> Call:
        return Call("Read", {"filepath": str(file)})


class Aider:
    """Has no tools: it is answered with an edit, and reads back what its own test command printed."""

    name = "aider"
    runs = "aider"
    dialect = "chat"

    def files(self, place: Place) -> Mapping[str, str]:
        limits = {"max_input_tokens": place.context, "max_output_tokens": place.output}
        return {".aider.model.metadata.json": json.dumps({f"openai/{place.model}": limits})}

    def environment(self, place: Place) -> Mapping[str, str]:
        return {"OPENAI_API_BASE": place.v1, "OPENAI_API_KEY": place.key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

    def arguments(self, place: Place, prompt: str) -> tuple[str, ...]:
        return ("--model", f"openai/{place.model}", *self.task(prompt))

    def alone(self, place: Place) -> Mapping[str, str]:
        return {}

    def task(self, prompt: str) -> tuple[str, ...]:
        quiet = (
            "--no-check-update",
            "--no-show-release-notes",
            "--analytics-disable",
            "--no-git",
            "--no-pretty",
            "--no-show-model-warnings",
        )
        # What a failed test prints is put to the model, which is how the file comes back to it, and the words to say.
        script = 'printf \'#script text="done: %s"\' "$(cat hello.txt)"'
        test = ("--auto-test", "--test-cmd", f"test -e once || {{ touch once; {script}; exit 1; }}")
        return ("--edit-format", "diff", "--yes-always", *quiet, *test, "--message", prompt)

    def plan(self, file: Path, content: str, fault: str) -> str:
        """See `Client.plan`."""
        edit = f"{file.name}\n```\n<<<<<<< SEARCH\n=======\n{content}\n>>>>>>> REPLACE\n```\n"
        return f"{fault}text={json.dumps(edit)}"


CLIENTS: tuple[Client, ...] = (
    QwenCode(),
    OpenCode(),
    ClaudeCode(),
    ClaudeCodeRouter(),
    Codex(),
    OpenHands(),
    Aider(),
    Pi(),
    Continue(),
)

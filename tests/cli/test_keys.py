from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from relight.access.keys import Keys
from relight.cli.main import run
from relight.config.load import load
from relight.config.schema import SecretName
from relight.config.secrets import resolve

DEMO = '[models.demo]\nengine = "scripted"\n'
KEYED = DEMO + '[auth]\nkeys = { secret = "RELIGHT_KEYS" }\n'
KEY = re.compile(r"rl_[A-Za-z0-9_-]{43}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "RELIGHT_KEYS", "MY_KEYS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "relight.toml").write_text(KEYED, encoding="utf-8")
    return tmp_path


def create(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["keys", "create", name]) == 0
    text = capsys.readouterr().out.strip()
    assert KEY.fullmatch(text)
    return text


def known(folder: Path) -> Keys:
    """The keys that a server started here would know."""
    loaded = load(folder / "relight.toml", environ={})
    secret = resolve(loaded.config.auth.keys, loaded.folder, {}, key="auth.keys")
    assert secret is not None
    return Keys.parse(secret.reveal())


def test_created_key_is_the_only_thing_on_standard_output_and_is_known_to_the_server(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["keys", "create", "laptop"]) == 0
    shown = capsys.readouterr()
    text = shown.out.removesuffix("\n")
    assert KEY.fullmatch(text)
    assert text not in shown.err
    assert "shown only this once" in shown.err
    assert "[auth]" not in shown.err
    found = known(folder).find(text)
    assert found is not None
    assert found.name == "laptop"


def test_file_of_the_entries_is_private_and_holds_no_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = create("laptop", capsys)
    file = folder / ".env"
    assert file.stat().st_mode & 0o777 == 0o600
    assert text not in file.read_text()
    assert re.fullmatch(r"RELIGHT_KEYS=laptop:\d{4}-\d\d-\d\d:[0-9a-f]{64}\n", file.read_text())
    assert sorted(path.name for path in folder.iterdir()) == [".env", "relight.toml"]


def test_other_lines_of_the_file_stay_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".env").write_text("# mine\nOPENAI_API_KEY='sk-1' # cloud\n")
    first, second = create("laptop", capsys), create("phone", capsys)
    assert (folder / ".env").read_text().startswith("# mine\nOPENAI_API_KEY='sk-1' # cloud\nRELIGHT_KEYS=laptop:")
    assert [known(folder).find(text) is not None for text in (first, second)] == [True, True]
    for name in ("laptop", "phone"):
        assert run(["keys", "revoke", name]) == 0
    assert (folder / ".env").read_text() == "# mine\nOPENAI_API_KEY='sk-1' # cloud\n"


def test_revoked_key_is_no_longer_known(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = create("laptop", capsys), create("phone", capsys)
    assert run(["keys", "revoke", "laptop"]) == 0
    assert "start the server again" in capsys.readouterr().err
    assert known(folder).find(first) is None
    assert known(folder).find(second) is not None


def test_revoking_an_unknown_key_suggests_the_nearest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create("laptop", capsys)
    assert run(["keys", "revoke", "labtop"]) == 2
    assert capsys.readouterr().err == 'error: keys: no key is called "labtop"; did you mean "laptop"?\n'


def test_second_key_of_a_name_is_refused_and_the_first_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = create("laptop", capsys)
    before = (folder / ".env").read_text()
    assert run(["keys", "create", "laptop"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert 'there is a key called "laptop" already' in shown.err
    assert (folder / ".env").read_text() == before
    assert known(folder).find(text) is not None


def test_name_that_is_none_is_refused_before_anything_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "My Laptop"]) == 2
    assert "use small letters" in capsys.readouterr().err
    assert not (folder / ".env").exists()


def test_list_shows_names_and_days_and_no_digest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create("laptop", capsys)
    digest = next(iter(known(folder))).digest.hex()
    assert run(["keys", "list"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"laptop +\d{{4}}-\d\d-\d\d +{digest[:8]}\b", shown)
    assert digest[:9] not in shown
    assert run(["keys", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["sha256"]) == ("laptop", digest[:8])


def test_list_without_keys_says_how_to_make_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "list"]) == 0
    assert capsys.readouterr().err == "no keys; make one with: relight keys create NAME\n"
    assert run(["keys", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_json_holds_the_key_its_entry_and_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "ci", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["path"] == str(folder / ".env")
    assert Keys.parse(made["entry"]).find(made["key"]) is not None
    assert known(folder).find(made["key"]) is not None


def test_environment_wins_and_the_entry_is_printed_for_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_KEYS", f"phone:{'1' * 64}")
    assert run(["keys", "create", "laptop"]) == 0
    shown = capsys.readouterr()
    text, entry = shown.out.strip(), shown.err.splitlines()[1].strip()
    assert shown.err.startswith("not written: RELIGHT_KEYS is set in the environment, which wins over")
    assert Keys.parse(f"phone:{'1' * 64},{entry}").find(text) is not None
    assert not (folder / ".env").exists()
    assert run(["keys", "list"]) == 0
    assert "phone" in capsys.readouterr().out
    assert run(["keys", "revoke", "phone"]) == 2
    assert 'take the entry that begins with "phone:" out there' in capsys.readouterr().err


def test_without_configured_keys_the_lines_to_add_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "relight.toml").write_text('[server]\nhost = "0.0.0.0"\n' + DEMO, encoding="utf-8")
    assert run(["keys", "create", "laptop"]) == 0
    shown = capsys.readouterr()
    lines = "\n".join(shown.err.splitlines()[-2:]) + "\n"
    (folder / "relight.toml").write_text('[server]\nhost = "0.0.0.0"\n' + DEMO + lines, encoding="utf-8")
    assert known(folder).find(shown.out.strip()) is not None


def test_entries_lie_in_the_variable_that_is_configured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "relight.toml").write_text(KEYED.replace("RELIGHT_KEYS", "MY_KEYS"), encoding="utf-8")
    text = create("laptop", capsys)
    assert (folder / ".env").read_text().startswith("MY_KEYS=laptop:")
    assert known(folder).find(text) is not None


def test_file_that_is_a_link_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "shared").write_text("A=1\n")
    (folder / ".env").symlink_to("shared")
    assert run(["keys", "create", "laptop"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "is a link to shared; make it a file of its own" in shown.err
    assert (folder / "shared").read_text() == "A=1\n"


def test_entries_that_cannot_be_read_are_not_overwritten_and_not_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".env").write_text("RELIGHT_KEYS=rl_hush\n")
    assert run(["keys", "create", "laptop"]) == 3
    error = capsys.readouterr().err
    assert "RELIGHT_KEYS: entry 1 is a key itself, not the entry of one" in error
    assert "hush" not in error
    assert (folder / ".env").read_text() == "RELIGHT_KEYS=rl_hush\n"


def test_names_of_secrets_are_shown_in_the_configuration_and_their_values_are_not(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hush")
    text = KEYED + '[models.cloud]\nurl = "https://api.example.com/v1"\napi_key = { secret = "OPENAI_API_KEY" }\n'
    (folder / "relight.toml").write_text(text + '[limits]\nstore = "redis://:hush@127.0.0.1/0"\n', encoding="utf-8")
    create("laptop", capsys)
    assert resolve(SecretName(secret="RELIGHT_KEYS"), folder, {}, key="auth.keys") is not None
    assert run(["config", "show", "--json"]) == 0
    shown = capsys.readouterr().out
    rows = {row["key"]: row["value"] for row in json.loads(shown)}
    assert (rows["models.cloud.api_key.secret"], rows["auth.keys.secret"]) == ("OPENAI_API_KEY", "RELIGHT_KEYS")
    assert rows["limits.store"] == "redis://***@127.0.0.1/0"
    assert "hush" not in shown
    assert next(iter(known(folder))).digest.hex() not in shown

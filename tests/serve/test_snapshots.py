"""Prefix snapshots as a user has them: baked, taken back at a wake, learned, and never a wrong answer. Real engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.gemma import NotHad, gemma

from relight.check import USER_AGENT
from tests.serve.process import Served, serve, weights_of

pytestmark = pytest.mark.real

EXAMPLE = Path(__file__).parents[2] / "examples" / "portfolio" / "relight.toml"
SYSTEM = "\n".join(f"Rule {number}: when somebody asks about item {number}, answer in a short sentence." for number in range(12))
QUESTION = "Which item comes after item 3?"
TOOL = {"name": "look", "description": "Look something up.", "parameters": {"type": "object", "properties": {}}}
# The same prefix in each dialect, and the question after it.
CHAT: dict[str, Any] = {
    "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
    "temperature": 0,
    "max_tokens": 12,
}
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/messages": {
        "system": SYSTEM,
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 12,
    },
    "/v1/responses": {"instructions": SYSTEM, "input": QUESTION, "temperature": 0, "max_output_tokens": 12},
    "/api/chat": {**CHAT, "stream": False, "options": {"temperature": 0, "num_predict": 12}},
}
WORDS = {
    "/v1/chat/completions": lambda body: body["choices"][0]["message"]["content"],
    "/v1/messages": lambda body: body["content"][0]["text"],
    "/v1/responses": lambda body: body["output"][0]["content"][0]["text"],
    "/api/chat": lambda body: body["message"]["content"],
}


def config(folder: Path, more: str = "") -> Path:
    weights = weights_of(EXAMPLE)
    file = folder / "relight.toml"
    file.write_text(f'[models.smol]\nsource = "file:{weights}"\ncontext = 2048\n[prefixes]\ndir = "snapshots"\n{more}')
    return file


def relight(folder: Path, *words: str, code: int = 0) -> Any:
    command = [str(Path(sys.executable).with_name("relight")), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout + done.stderr


def post(served: Served, path: str, body: dict[str, Any], **headers: str) -> Any:
    return exchange(served, path, body, **headers)[0]


def exchange(served: Served, path: str, body: dict[str, Any], **headers: str) -> tuple[Any, str]:
    """The answer, and the interaction that it was; `user_agent="x"` is sent as `user-agent: x`."""
    said = {name.replace("_", "-"): text for name, text in headers.items()}
    with served.connection() as connection:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **said})
        answer = connection.getresponse()
        said = json.loads(answer.read())
    assert answer.status < 300, said
    return said, answer.headers.get("x-relight-interaction", "")


def record(served: Served, count: int) -> dict[str, Any]:
    """The record of the answer number `count`."""
    served.until(lambda: len(served.records()) >= count)
    return served.records()[count - 1]


def put_to_sleep(served: Served) -> None:
    asleep = len(served.lines)
    post(served, "/models/smol/sleep", {})
    served.until(lambda: any("is asleep" in line for line in served.lines[asleep:]))


def requests(folder: Path) -> list[str]:
    for path, body in ASKED.items():
        name = path.strip("/").replace("/", "-")
        said = {key: value for key, value in body.items() if key not in ("stream", "options")}
        (folder / f"{name}.json").write_text(json.dumps(said))
    return sorted(file.name for file in folder.glob("*.json"))


def test_answers_with_and_without_snapshots_are_the_same_in_every_dialect(tmp_path: Path) -> None:
    file = config(tmp_path, "learn = false\n")
    plain = {}
    with serve(file, "--port", "0") as served:
        for path, body in ASKED.items():
            plain[path] = WORDS[path](post(served, path, body))
            put_to_sleep(served)
        assert all("restored_tokens" not in record for record in served.records())
    baked = relight(tmp_path, "bake", *requests(tmp_path), "--json")
    assert {one["state"] for one in baked} <= {"made", "kept"}
    assert all(one["tokens"] > 200 and one["same_answer"] for one in baked if one["state"] == "made")
    with serve(file, "--port", "0") as served:
        for count, (path, body) in enumerate(ASKED.items(), 1):
            assert WORDS[path](post(served, path, body)) == plain[path], path
            told = record(served, count)
            assert told["restored_tokens"] > 200, (path, served.lines)
            assert told["tokens"]["cached"] >= told["restored_tokens"] - 1
            assert told["timings"]["restore_ms"] > 0
            put_to_sleep(served)


def test_baking_again_keeps_what_is_there_and_listing_and_removing_show_it(tmp_path: Path) -> None:
    config(tmp_path)
    name = requests(tmp_path)[0]
    (made,) = relight(tmp_path, "bake", name, "--json")
    (kept,) = relight(tmp_path, "bake", name, "--json")
    assert (made["state"], kept["state"]) == ("made", "kept")
    assert made["restore_s"] < made["bake_s"]
    (listed,) = relight(tmp_path, "prefixes", "list", "--json")
    assert (listed["model"], listed["tokens"]) == ("smol", made["tokens"])
    assert oct(Path(listed["path"]).stat().st_mode & 0o777) == "0o600"
    (tmp_path / "relight.toml").write_text((tmp_path / "relight.toml").read_text().replace("2048", "1024"))
    (foreign,) = relight(tmp_path, "prefixes", "list", "--json")
    assert foreign["model"] is None
    assert "removed" in relight(tmp_path, "prefixes", "remove", "--foreign")
    assert relight(tmp_path, "prefixes", "list", "--json") == []


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a snapshot of what the chat begins with."""
    folder = tmp_path_factory.mktemp("baked")
    config(folder, "learn = false\n")
    relight(folder, "bake", requests(folder)[-1], "--json")
    return folder / "snapshots"


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_damaged_snapshot_costs_a_warning_and_nothing_else(tmp_path: Path, baked: Path, damage: str) -> None:
    file = config(tmp_path, "learn = false\n")
    shutil.copytree(baked, tmp_path / "snapshots")
    (snapshot,) = (tmp_path / "snapshots").rglob("*.snapshot")
    with serve(file, "--port", "0") as served:
        good = post(served, "/v1/chat/completions", CHAT)["choices"][0]["message"]["content"]
        assert record(served, 1)["restored_tokens"] > 200
        put_to_sleep(served)
        if damage == "gone":
            snapshot.unlink()
        elif damage == "cut":
            os.truncate(snapshot, snapshot.stat().st_size // 2)
        else:
            with snapshot.open("r+b") as opened:
                opened.seek(snapshot.stat().st_size // 2)
                byte = opened.read(1)
                opened.seek(-1, os.SEEK_CUR)
                opened.write(bytes([byte[0] ^ 1]))
        assert post(served, "/v1/chat/completions", CHAT)["choices"][0]["message"]["content"] == good
        told = record(served, 2)
        assert "restored_tokens" not in told
        assert "error" not in told
        assert damage == "gone" or any("WARNING" in line and "snapshot" in line for line in served.lines)


def test_shared_prefix_is_learned_in_a_quiet_moment_and_holds_no_words_of_users(tmp_path: Path) -> None:
    file = config(tmp_path)
    with serve(file, "--port", "0") as served:
        for question in ("What is a lamp?", "Who are you?"):
            messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
            post(served, "/v1/chat/completions", {"messages": messages, "max_tokens": 4})
        folder = tmp_path / "snapshots"
        served.until(lambda: any("saved: learned" in line for line in served.lines))
        assert len(list(folder.rglob("*.snapshot"))) == 1
        put_to_sleep(served)
        assert post(served, "/v1/chat/completions", CHAT)["choices"]
        told = record(served, 3)
        assert told["restored_tokens"] > 200
        assert told["tokens"]["cached"] >= told["restored_tokens"] - 1
        assert told["tokens"]["prompt"] - told["restored_tokens"] >= 5


def test_nothing_is_learned_from_what_relight_check_asks(tmp_path: Path) -> None:
    with serve(config(tmp_path), "--port", "0") as served:
        for agent, system in ((USER_AGENT, SYSTEM.replace("Rule", "Point")), ("laptop", SYSTEM)):
            for question in ("What is a lamp?", "Who are you?"):
                messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
                post(served, "/v1/chat/completions", {"messages": messages, "max_tokens": 4}, user_agent=agent)
        served.until(lambda: any("saved: learned" in line for line in served.lines))
        served.stop()  # what is not saved yet is saved now
    assert len(list((tmp_path / "snapshots").rglob("*.snapshot"))) == 1


def test_recorded_prefixes_can_be_baked_and_hold_no_words_of_users(tmp_path: Path) -> None:
    file = config(tmp_path, "learn = false\n")
    with serve(file, "--port", "0", command=("prefixes", "record", str(tmp_path / "seen"))) as served:
        for path, body in ASKED.items():
            post(served, path, body)
    files = sorted((tmp_path / "seen").glob("*.json"))
    assert files
    assert all(QUESTION not in seen.read_text() and "Rule 3" in seen.read_text() for seen in files)
    baked = relight(tmp_path, "bake", *(str(seen) for seen in files), "--json")
    assert {one["state"] for one in baked} == {"made"}


def test_model_with_a_sliding_window_takes_its_state_back(tmp_path: Path) -> None:
    try:
        weights = gemma()
    except NotHad as error:
        pytest.skip(str(error))
    file = tmp_path / "relight.toml"
    prefixes = '[prefixes]\ndir = "snapshots"\nlearn = false\n'
    file.write_text(f'[models.smol]\nsource = "file:{weights}"\ncontext = 2048\nparallel = 1\n{prefixes}')
    with serve(file, "--port", "0") as served:
        plain = WORDS["/v1/messages"](post(served, "/v1/messages", ASKED["/v1/messages"]))
    requests(tmp_path)
    (baked,) = relight(tmp_path, "bake", "v1-messages.json", "--json")
    assert (baked["state"], baked["same_answer"]) == ("made", True)
    assert baked["cached_tokens"] > 0.5 * baked["tokens"]
    with serve(file, "--port", "0") as served:
        assert WORDS["/v1/messages"](post(served, "/v1/messages", ASKED["/v1/messages"])) == plain
        assert record(served, 1)["restored_tokens"] == baked["tokens"]


def test_encrypted_snapshots_are_taken_back_and_unreadable_without_their_key(tmp_path: Path) -> None:
    file = config(tmp_path, 'learn = false\nkey = { secret = "PREFIX_KEY" }\n')
    (tmp_path / ".env").write_text("PREFIX_KEY=correct horse battery staple\n")
    name = requests(tmp_path)[-1]
    (baked,) = relight(tmp_path, "bake", name, "--json")
    assert baked["state"] == "made"
    (snapshot,) = (tmp_path / "snapshots").rglob("*.snapshot")
    assert b"Rule" not in snapshot.read_bytes()
    with serve(file, "--port", "0") as served:
        post(served, "/v1/chat/completions", CHAT)
        assert record(served, 1)["restored_tokens"] == baked["tokens"]
    with serve(file, "--port", "0", env={"PREFIX_KEY": "another"}) as served:
        post(served, "/v1/chat/completions", CHAT)
        assert "restored_tokens" not in record(served, 1)
        assert "error" not in record(served, 1)


def test_two_instances_share_a_folder_and_a_read_only_one_is_fine(tmp_path: Path) -> None:
    file = config(tmp_path)
    asked = [{"messages": [CHAT["messages"][0], {"role": "user", "content": said}], "max_tokens": 2} for said in ("One?", "Two?")]
    with serve(file, "--port", "0") as one, serve(file, "--port", "0") as two:
        for body in asked:
            post(one, "/v1/chat/completions", body)
            post(two, "/v1/chat/completions", body)
        for served in (one, two):
            served.until(lambda served=served: any("saved: learned" in line for line in served.lines))
    assert len(list((tmp_path / "snapshots").rglob("*.snapshot"))) == 1
    other = tmp_path / "other"
    other.mkdir()
    fresh = config(other, f'max_size = "1B"\ndir = "{tmp_path / "snapshots"}"\n'.replace('dir = "snapshots"', ""))
    fresh.write_text(fresh.read_text().replace('dir = "snapshots"\n', ""))
    with serve(fresh, "--port", "0") as served:
        post(served, "/v1/chat/completions", CHAT)
        assert record(served, 1)["restored_tokens"] > 200


def test_what_breaks_a_prefix_is_named_counted_and_can_be_taken_out(tmp_path: Path) -> None:
    def on(day: int) -> dict[str, Any]:
        system = f"x-some-billing-header: cch=ab{day};\nYou help.\n{SYSTEM}\n{SYSTEM}\n{SYSTEM}"
        return {"messages": [{"role": "system", "content": system}, {"role": "user", "content": "Hi"}], "max_tokens": 2}

    file = config(tmp_path, "learn = false\n")
    with serve(file, "--port", "0") as served:
        for day in (21, 22, 22):
            post(served, "/v1/chat/completions", on(day))
        told: list[Any] = [record(served, count).get("prefix_break") for count in (1, 2, 3)]
        assert (told[0], told[2]) == (None, None)
        assert (told[1]["what"], told[1]["where"]) == ("an attribution header", "messages.0, line 1")
        assert told[1]["tokens"] > 400
        assert told[1]["seconds"] > 0
        assert any("kept a prompt from beginning as before" in line for line in served.lines)
        assert not any("cch=ab" in line for line in served.lines)
        (tmp_path / "log").write_text("\n".join([*served.lines, "no record"]))
    (cause,) = relight(tmp_path, "prefixes", "why", "log", "--json")
    assert (cause["what"], cause["times"], cause["tokens"]) == ("an attribution header", 1, told[1]["tokens"])
    file.write_text(file.read_text() + 'strip = ["x-[a-z-]*billing-header:[^\\\\n]*\\\\n"]\n')
    with serve(file, "--port", "0") as served:
        for day in (21, 22):
            post(served, "/v1/chat/completions", on(day))
        assert "prefix_break" not in record(served, 2)
        assert record(served, 2)["tokens"]["cached"] > 400


def test_what_was_shared_is_saved_when_the_server_stops(tmp_path: Path) -> None:
    file = config(tmp_path)
    with serve(file, "--port", "0") as served:
        for question in ("What is a lamp?", "Who are you?"):
            messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
            post(served, "/v1/chat/completions", {"messages": messages, "max_tokens": 1})
    assert len(list((tmp_path / "snapshots").rglob("*.snapshot"))) == 1
    with serve(file, "--port", "0") as served:
        post(served, "/v1/chat/completions", CHAT)
        assert record(served, 1)["restored_tokens"] > 200


def test_bench_times_wakes_with_and_without_a_snapshot(tmp_path: Path) -> None:
    config(tmp_path)
    none, read, taken = relight(tmp_path, "bench", "wake", "--tokens", "0", "--tokens", "300", "--runs", "1", "--json")
    assert [one["snapshot"] for one in (none, read, taken)] == [False, False, True]
    assert none["tokens"] == 0
    assert read["tokens"] == taken["tokens"] > 200
    assert taken["restore_s"] > 0 == read["restore_s"]
    assert "2048" in relight(tmp_path, "bench", "wake", "--tokens", "5000", code=2)


def test_other_snapshots_follow_into_spare_slots_in_a_quiet_moment(tmp_path: Path) -> None:
    file = config(tmp_path, "learn = false\n")
    file.write_text(file.read_text().replace("context = 2048", "context = 2048\nparallel = 2"))
    other = {**CHAT, "messages": [{"role": "system", "content": f"Be curt.\n{SYSTEM}"}, CHAT["messages"][1]]}
    for name, body in (("one", CHAT), ("two", other)):
        (tmp_path / f"{name}.json").write_text(json.dumps(body))
    relight(tmp_path, "bake", "one.json", "two.json", "--json")
    with serve(file, "--port", "0") as served:
        post(served, "/v1/chat/completions", CHAT)
        assert record(served, 1)["restored_tokens"] > 200
        served.until(lambda: any("knows" in line and "before anybody asks" in line for line in served.lines))
        post(served, "/v1/chat/completions", other)
        told = record(served, 2)
        assert "restored_tokens" not in told
        assert told["tokens"]["cached"] > 200
        post(served, "/v1/chat/completions", CHAT)
        assert record(served, 3)["tokens"]["cached"] > 200


def test_conversation_goes_on_after_a_sleep_only_where_history_may_be_saved(tmp_path: Path) -> None:
    first = [CHAT["messages"][0], {"role": "user", "content": "What is a lamp? " + "Think of light. " * 40}]
    for allowed in (False, True):
        folder = tmp_path / str(allowed)
        folder.mkdir()
        file = config(folder, f"learn = false\ninclude_history = {str(allowed).lower()}\n")
        with serve(file, "--port", "0") as served:
            said = post(served, "/v1/chat/completions", {"messages": first, "max_tokens": 8, "temperature": 0})
            if allowed:
                served.until(lambda served=served: any("saved: conversation" in line for line in served.lines))
            put_to_sleep(served)
            answer = {"role": "assistant", "content": said["choices"][0]["message"]["content"]}
            more = [*first, answer, {"role": "user", "content": "And a candle?"}]
            post(served, "/v1/chat/completions", {"messages": more, "max_tokens": 4})
            told = record(served, 2)
            if allowed:
                assert told["restored_tokens"] >= told["tokens"]["prompt"] - 40
                assert told["tokens"]["cached"] >= told["restored_tokens"] - 10
            else:
                assert "restored_tokens" not in told
        assert len(list(folder.rglob("*.snapshot"))) == int(allowed)

"""Connecting and taking it back, on real files: whole or not at all, and nothing of the user's is lost."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from relight.agents.disk import PRIVATE, Change, alone, carry_out
from relight.agents.undo import Loss, lost
from relight.agents.wiring import Edit, Format, Json, Scope, Setting
from relight.errors import ConfigError, UsageError
from tests.agents.connecting import Desk

SETTINGS = "~/.probe/settings.json"
MINE = '// mine\n{\n  "theme": "dark", // at night\n  "model": "old"\n}\n'


def edit(path: str = SETTINGS, *, is_private: bool = False, format_: Format = Format.JSON, **values: Json) -> Edit:
    """An edit that sets these names at the top of a file."""
    return Edit(path, format_, tuple(Setting((name,), value) for name, value in values.items()), is_private=is_private)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_connected_file_holds_the_settings_beside_what_was_there(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol", url="http://x"))
    assert file.read_text() == MINE.replace('"old"', '"smol",\n  "url": "http://x"')


def test_connecting_twice_changes_nothing(desk: Desk) -> None:
    desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol"))
    before = {path: path.read_bytes() for path in desk.root.rglob("*") if path.is_file()}
    made = desk.plan(edit(model="smol"))
    assert made.is_empty
    assert not any(change.is_one for change in made.changes)
    carry_out(made.changes)
    assert {path: path.read_bytes() for path in desk.root.rglob("*") if path.is_file()} == before


def test_undoing_restores_every_byte_and_takes_new_files_and_folders_away(desk: Desk) -> None:
    desk.file(SETTINGS, MINE.replace("\n", "\r\n").encode("utf-8-sig"))
    before = desk.tree()
    desk.connect(
        edit(model="smol"), edit("~/.new/deep/x.toml", format_=Format.TOML, a=1), edit("own/.env", format_=Format.ENV, A="1")
    )
    assert len(desk.tree()) > len(before)
    desk.undo()
    assert desk.tree() == before
    assert desk.receipt() is None
    assert not [path for path in desk.places.state.rglob("*") if path.is_file() and path.name != "lock"]


def test_folder_that_holds_something_else_by_now_stays(desk: Desk) -> None:
    desk.connect(edit("~/.new/x.json", a=1))
    desk.file("~/.new/mine.txt", "mine")
    desk.undo()
    assert [path for path in desk.tree() if ".new" in path] == ["home/.new", "home/.new/mine.txt"]


def test_second_connection_takes_out_what_only_the_first_had_set(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol", slim=True), edit("~/.other.json", a=1))
    desk.connect(edit(model="big"))
    assert file.read_text() == MINE.replace("old", "big")
    assert not desk.file("~/.other.json").exists()
    desk.undo()
    assert file.read_text() == MINE


def test_scopes_are_kept_apart(desk: Desk) -> None:
    desk.connect(edit(model="smol"))
    desk.connect(edit("probe.json", model="big"), scope=Scope.PROJECT)
    desk.undo(Scope.PROJECT)
    assert desk.file(SETTINGS).exists()
    assert not desk.file("probe.json").exists()
    assert desk.receipt() is not None


def test_link_that_leads_out_of_a_project_is_refused(desk: Desk) -> None:
    mine = desk.file("~/mine.json", MINE)
    desk.file("probe.json").symlink_to(mine)
    with pytest.raises(ConfigError, match=r"probe\.json: leads out of the project, to .*mine\.json"):
        desk.connect(edit("probe.json", model="big"), scope=Scope.PROJECT)
    assert mine.read_text() == MINE


def test_link_is_followed_and_stays_a_link(desk: Desk) -> None:
    real, link = desk.file("~/dotfiles/settings.json", MINE), desk.file(SETTINGS)
    link.parent.mkdir()
    link.symlink_to(real)
    desk.connect(edit(model="smol"))
    assert link.is_symlink()
    assert '"smol"' in real.read_text()
    desk.undo()
    assert link.is_symlink()
    assert real.read_text() == MINE


def test_link_to_nothing_is_filled_where_it_leads(desk: Desk) -> None:
    link = desk.file(SETTINGS)
    link.parent.mkdir()
    link.symlink_to(desk.root / "home" / "later" / "settings.json")
    desk.connect(edit(model="smol"))
    assert link.is_symlink()
    assert '"smol"' in link.read_text()


def test_links_in_a_circle_are_refused(desk: Desk) -> None:
    link = desk.file(SETTINGS)
    link.parent.mkdir()
    link.symlink_to(link)
    with pytest.raises(ConfigError, match=r"settings\.json: cannot be read"):
        desk.plan(edit(model="smol"))


def test_folder_in_the_place_of_a_file_is_refused(desk: Desk) -> None:
    desk.file(SETTINGS).mkdir(parents=True)
    with pytest.raises(ConfigError, match="is not a file"):
        desk.plan(edit(model="smol"))


def test_mode_is_kept_and_a_file_with_a_secret_is_private(desk: Desk) -> None:
    kept, private = desk.file(SETTINGS, MINE), desk.file("~/.probe/secret.json", "{}")
    kept.chmod(0o640)
    private.chmod(0o644)
    desk.connect(
        edit(model="smol"), edit("~/.probe/secret.json", is_private=True, key="x"), edit("~/n.json", is_private=True, a=1)
    )
    assert [stat.S_IMODE(file.stat().st_mode) for file in (kept, private, desk.file("~/n.json"))] == [0o640, 0o600, 0o600]
    desk.undo()
    assert [stat.S_IMODE(file.stat().st_mode) for file in (kept, private)] == [0o640, 0o644]


def test_file_with_a_secret_that_says_all_already_becomes_private(desk: Desk) -> None:
    file = desk.file(SETTINGS, '{"model": "smol"}')
    file.chmod(0o644)
    desk.connect(edit(is_private=True, model="smol"))
    assert stat.S_IMODE(file.stat().st_mode) == PRIVATE
    assert desk.plan(edit(is_private=True, model="smol")).is_empty
    desk.undo()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert file.read_text() == '{"model": "smol"}'


def test_our_own_notes_are_private(desk: Desk) -> None:
    desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol"))
    notes = [path for path in desk.places.state.rglob("*") if path.is_file()]
    assert {path.name for path in notes} == {"receipt.json", "0-settings.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in notes} == {PRIVATE}


def test_default_is_put_only_where_nothing_is(desk: Desk) -> None:
    defaults = Edit(SETTINGS, Format.JSON, (Setting(("theme",), "ours", is_default=True), Setting(("v",), 1, is_default=True)))
    file = desk.file(SETTINGS, MINE)
    desk.connect(defaults)
    assert '"dark"' in file.read_text()
    assert '"v": 1' in file.read_text()
    file.write_text(file.read_text().replace('"v": 1', '"v": 2'))
    receipt = desk.receipt()
    assert receipt is not None
    assert lost(receipt) == ()
    assert desk.plan(defaults).is_empty
    desk.undo()
    assert '"v": 2' in file.read_text()


# --- a file that is one text


NOTES = "~/.probe/instructions.md"


def text_edit(text: str) -> Edit:
    return Edit(NOTES, Format.TEXT, (Setting(("text",), text, "a short one"),))


def test_whole_text_is_written_and_taken_away_again(desk: Desk) -> None:
    before = desk.tree()
    desk.connect(edit(model="smol"), text_edit("Be brief.\n"))
    assert desk.file(NOTES).read_text() == "Be brief.\n"
    assert desk.plan(edit(model="smol"), text_edit("Be brief.\n")).is_empty
    receipt = desk.receipt()
    assert receipt is not None
    assert lost(receipt) == ()
    desk.connect(edit(model="smol"), text_edit("Be bold.\n"))
    assert desk.file(NOTES).read_text() == "Be bold.\n"
    desk.undo()
    assert desk.tree() == before


def test_text_of_the_users_own_comes_back(desk: Desk) -> None:
    file = desk.file(NOTES, "# mine\r\n")
    desk.connect(text_edit("Be brief.\n"))
    assert file.read_text() == "Be brief.\n"
    desk.undo()
    assert file.read_bytes() == b"# mine\r\n"


def test_text_that_somebody_has_rewritten_since_stays(desk: Desk) -> None:
    desk.connect(text_edit("Be brief.\n"))
    desk.file(NOTES).write_text("Be mine.\n")
    receipt = desk.receipt()
    assert receipt is not None
    assert lost(receipt) == (Loss(f"{NOTES}: text says something else"),)
    assert desk.undo().files[0].left == ("text",)
    assert desk.file(NOTES).read_text() == "Be mine.\n"


def test_text_that_is_not_wanted_any_more_goes_with_the_next_connection(desk: Desk) -> None:
    desk.connect(edit(model="smol"), text_edit("Be brief.\n"))
    desk.connect(edit(model="smol"))
    assert not desk.file(NOTES).exists()


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_unreadable_second_file_keeps_the_first_from_being_written(desk: Desk) -> None:
    desk.file(SETTINGS, MINE)
    desk.file("~/b.json", '{\n"a" 1}')
    before = desk.tree()
    with pytest.raises(ConfigError, match=r"^~/b\.json:2:5: is not JSON"):
        desk.connect(edit(model="smol"), edit("~/b.json", a=1))
    assert desk.tree() == before
    assert desk.receipt() is None


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody, root included, can make files")
def test_second_file_that_cannot_be_written_takes_the_first_back(desk: Desk) -> None:
    desk.file(SETTINGS, MINE)
    (desk.places.home / "locked").symlink_to("/proc/self")
    before = desk.tree()
    with pytest.raises(UsageError, match=r"~/locked/x\.json: cannot be written"):
        desk.connect(edit(model="smol"), edit("~/new/y.json", a=1), edit("~/locked/x.json", a=1))
    assert desk.tree() == before
    assert desk.receipt() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_folder_that_may_not_be_written_is_named(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    file.parent.chmod(0o500)
    try:
        with pytest.raises(UsageError, match=r"settings\.json: cannot be written: Permission denied"):
            desk.connect(edit(model="smol"))
    finally:
        file.parent.chmod(0o700)
    assert file.read_text() == MINE


def test_read_only_file_is_left_alone_and_so_are_the_others(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    file.chmod(0o444)
    before = desk.tree()
    with pytest.raises(UsageError, match="is read-only"):
        desk.connect(edit("~/first.json", a=1), edit(model="smol"))
    assert desk.tree() == before
    assert desk.receipt() is None


def test_file_that_changes_while_somebody_is_asked_is_not_overwritten(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    made = desk.plan(edit("~/first.json", a=1), edit(model="smol"))
    file.write_text("{}")
    with pytest.raises(UsageError, match="was changed meanwhile"):
        carry_out(made.changes)
    assert file.read_text() == "{}"
    assert not desk.file("~/first.json").exists()


def test_file_that_vanishes_while_somebody_is_asked_is_not_made_anew(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    made = desk.plan(edit(model="smol"))
    file.unlink()
    with pytest.raises(UsageError, match="was changed meanwhile"):
        carry_out(made.changes)
    assert not file.exists()


def test_two_plans_at_once_do_not_both_win(desk: Desk) -> None:
    desk.file(SETTINGS, MINE)
    one, other = desk.plan(edit(model="smol")), desk.plan(edit(model="big"))
    carry_out(one.changes)
    with pytest.raises(UsageError, match="was changed meanwhile"):
        carry_out(other.changes)
    assert '"smol"' in desk.file(SETTINGS).read_text()


def test_only_one_writes_at_a_time(desk: Desk) -> None:
    with alone(desk.places.state), pytest.raises(UsageError, match="another one is writing"), alone(desk.places.state):
        raise AssertionError
    with alone(desk.places.state):
        pass


def test_stop_in_the_middle_takes_back_what_was_written(desk: Desk) -> None:
    file = desk.file("~/a.json", "old")

    class Stops(Change):
        @property
        def is_one(self) -> bool:
            if file.read_text() == "new":
                raise KeyboardInterrupt
            return True

    with pytest.raises(KeyboardInterrupt):
        carry_out([Change("~/a.json", file, b"old", b"new", 0o644), Stops("b", desk.root / "b", None, b"", 0o644)])
    assert file.read_text() == "old"


def test_written_receipt_before_a_crash_takes_nothing_back_that_was_not_written(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    carry_out(desk.plan(edit(model="smol")).notes)  # the power fails here
    desk.undo()
    assert file.read_text() == MINE
    assert desk.receipt() is None


# --- after somebody else's changes --------------------------------------------------------------------------------------


def test_undo_keeps_what_the_user_has_changed_since(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol", url="http://x"))
    file.write_text(file.read_text().replace('"dark", // at night', '"light", // by day\n  "font": 12,'))
    found = desk.undo()
    assert file.read_text() == MINE.replace('"dark", // at night', '"light", // by day\n  "font": 12,')
    assert found.files[0].left == ()


def test_undo_leaves_a_setting_that_the_user_has_set_anew(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol", url="http://x"))
    file.write_text(file.read_text().replace('"smol"', '"another"'))
    found = desk.undo()
    assert file.read_text() == MINE.replace('"old"', '"another"')
    assert found.files[0].left == ("model",)


def test_undo_of_a_file_that_we_made_keeps_what_the_user_has_added(desk: Desk) -> None:
    desk.connect(edit(model="smol"))
    file = desk.file(SETTINGS)
    file.write_text(file.read_text().replace("}", ', "mine": 1}'))
    desk.undo()
    assert "mine" in file.read_text()
    assert "smol" not in file.read_text()


def test_undo_of_a_file_that_is_gone_leaves_it_gone_and_the_old_one_to_be_found(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol"))
    file.unlink()
    desk.undo()
    assert not file.exists()
    assert (desk.places.folder("probe", Scope.USER) / "0-settings.json").read_text() == MINE


def test_undo_of_a_file_that_is_broken_by_now_says_where_the_old_one_is(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol"))
    file.write_text("{ broken")
    with pytest.raises(ConfigError, match="is not JSON") as refused:
        desk.undo()
    assert "0-settings.json" in str(refused.value)
    assert file.read_text() == "{ broken"
    assert desk.receipt() is not None


def test_connecting_again_after_the_users_edits_still_undoes_to_the_users_file(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol", url="http://x"))
    file.write_text(file.read_text().replace('"dark"', '"light"'))
    desk.connect(edit(model="big", url="http://x"))
    assert '"light"' in file.read_text()
    desk.undo()
    assert file.read_text() == MINE.replace("dark", "light")


def test_lost_copy_of_the_old_file_loses_nothing_of_the_users(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol", url="http://x"))
    copy = desk.places.folder("probe", Scope.USER) / "0-settings.json"
    copy.unlink()
    desk.connect(edit(model="big", url="http://x"))
    assert copy.read_text() == MINE
    copy.unlink()
    desk.undo()
    assert file.read_text() == MINE


def test_value_that_the_user_chose_between_two_connections_comes_back(desk: Desk) -> None:
    file = desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol"))
    file.write_text(file.read_text().replace("smol", "chosen"))
    desk.connect(edit(model="smol"))
    assert '"smol"' in file.read_text()
    desk.undo()
    assert file.read_text() == MINE.replace("old", "chosen")


def test_lost_settings_are_named(desk: Desk) -> None:
    desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol", url="http://x"), edit("~/gone.json", a=1))
    receipt = desk.receipt()
    assert receipt is not None
    assert lost(receipt) == ()
    desk.file(SETTINGS).write_text('{"model": "other"}')
    desk.file("~/gone.json").unlink()
    assert lost(receipt) == (
        Loss(f"{SETTINGS}: model says something else"),
        Loss(f"{SETTINGS}: url is not there any more"),
        Loss("~/gone.json: is gone"),
    )


def test_file_that_cannot_be_read_any_more_has_lost_its_settings(desk: Desk) -> None:
    desk.connect(edit(model="smol"))
    desk.file(SETTINGS).write_text("{ broken")
    receipt = desk.receipt()
    assert receipt is not None
    (said,) = lost(receipt)
    assert said.is_broken
    assert said.what.startswith(f"{SETTINGS}:1:3: is not JSON")


def test_receipt_of_another_version_is_refused(desk: Desk) -> None:
    desk.file(SETTINGS, MINE)
    desk.connect(edit(model="smol"))
    desk.places.receipt("probe", Scope.USER).write_text('{"version": 99}')
    with pytest.raises(ConfigError, match="no receipt of this version"):
        desk.plan(edit(model="smol"))

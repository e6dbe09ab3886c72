"""What follows for each agent from what was found."""

from __future__ import annotations

import pytest

from relight.agents.catalog import AGENTS
from relight.check.examination import CHECKS, exit_code
from relight.check.needs import Catalogued, Need, conclude, dialect_of_most, is_judged, needs
from relight.check.verdict import Conclusion, Finding, Report, Status
from relight.errors import ExitCode

CATALOGUE = [Catalogued(one.slug, one.name, one.dialect, one.context_need, one.slim_need) for one in AGENTS.values()]
NEEDS = {need.slug: need for need in needs(CATALOGUE)}
LARGE = 200_000


def found(need: Need, **others: Status) -> list[Finding]:
    """All that it needs passes, but for these ("history_tools" is history.tools)."""
    names = ["plain", "stream", *need.must, *(name for name in need.better if name != "keepalive")]
    states = {f"{need.dialect}.{name}": Status.PASS for name in names} | {"keepalive": Status.PASS}
    for name, status in others.items():
        states[name if name == "keepalive" else f"{need.dialect}.{name.replace('__', '.')}"] = status
    return [Finding(check, status, "", "") for check, status in states.items()]


def verdict(slug: str, context: int | None = LARGE, **others: Status) -> Conclusion:
    return conclude(NEEDS[slug], found(NEEDS[slug], **others), context)


@pytest.mark.parametrize("slug", NEEDS)
def test_what_an_agent_needs_is_a_check_of_its_dialect(slug: str) -> None:
    need = NEEDS[slug]
    asked = {check.name for check in CHECKS if need.dialect in check.dialects}
    assert set(need.must) <= asked
    assert set(need.better) - {"keepalive"} <= {check.name for check in CHECKS}


@pytest.mark.parametrize("slug", NEEDS)
def test_agent_works_where_all_passes_and_does_not_where_its_dialect_is_missing(slug: str) -> None:
    assert verdict(slug).says == "will work"
    assert verdict(slug).status is Status.PASS
    gone = verdict(slug, plain=Status.UNSUPPORTED, stream=Status.UNSUPPORTED)
    assert gone.status is Status.UNSUPPORTED
    assert gone.says == f"will not work: needs {NEEDS[slug].dialect}, missing"


def test_every_agent_of_the_catalogue_is_judged_in_its_own_dialect_and_by_its_own_figures() -> None:
    for one in AGENTS.values():
        assert NEEDS[one.slug].dialect == one.dialect
        assert NEEDS[one.slug].name == one.name
        if one.context_need:
            assert NEEDS[one.slug].context == one.context_need


def test_agent_that_nobody_knows_is_judged_as_others_of_its_dialect() -> None:
    (made_up,) = [need for need in needs([Catalogued("made-up", "Made Up", "messages", 3000, None)]) if need.slug == "made-up"]
    assert made_up.must == NEEDS["claude-code"].must
    assert made_up.context == 3000


def test_what_fails_is_named() -> None:
    assert verdict("qwen-code", clamp=Status.FAIL).says == "will not work: chat.clamp fails"
    assert verdict("qwen-code", clamp=Status.FAIL).status is Status.FAIL
    assert verdict("codex", items=Status.FAIL, kinds=Status.FAIL).says == "will not work: responses.items, responses.kinds fail"


def test_what_is_only_better_to_have_is_named_and_does_not_keep_it_from_working() -> None:
    lame = verdict("qwen-code", keepalive=Status.FAIL, usage=Status.FAIL)
    assert lame.status is Status.PASS
    assert lame.says == "will work, but chat.usage, keepalive fail"


def test_tools_that_the_model_did_not_call_are_not_shown_rather_than_broken() -> None:
    shy = verdict("opencode", tools__auto=Status.UNSURE)
    assert shy.status is Status.UNSURE
    assert shy.says == "should work; not shown: chat.tools.auto"
    assert verdict("aider", tools__auto=Status.UNSURE).status is Status.PASS  # it calls none


def test_check_that_was_not_asked_is_not_shown() -> None:
    need = NEEDS["pi"]
    findings = [finding for finding in found(need) if finding.check != "chat.history.tools"]
    assert conclude(need, findings, LARGE).says == "should work; not shown: chat.history.tools"


def test_agent_is_judged_by_all_that_it_needs_or_by_one_thing_that_broke() -> None:
    need = NEEDS["opencode"]
    some = [finding for finding in found(need) if finding.check in ("chat.stream", "chat.tools.auto")]
    broken = [Finding("chat.stream", Status.PASS, "", ""), Finding("chat.tools.auto", Status.FAIL, "", "")]
    assert is_judged(need, found(need))
    assert not is_judged(need, some)
    assert is_judged(need, broken)
    assert is_judged(need, [Finding("chat.stream", Status.UNSUPPORTED, "", "")])
    assert not is_judged(NEEDS["codex"], broken)
    assert is_judged(need, broken, frozenset({"chat.tools.auto"}))
    assert not is_judged(need, found(need), frozenset({"tools.forced"}))  # no affair of this agent's


def test_dialect_of_most_is_that_of_the_first_where_none_is_spoken_by_more() -> None:
    assert dialect_of_most(list(NEEDS.values())) == "chat"
    assert dialect_of_most([NEEDS["codex"], NEEDS["claude-code"]]) == "responses"
    assert dialect_of_most([NEEDS["codex"], NEEDS["claude-code"], NEEDS["anthropic-python"]]) == "messages"


def test_model_that_never_sees_tools_suits_no_agent_that_calls_them() -> None:
    blind = verdict("opencode", tools__shown=Status.FAIL)
    assert blind.says == "will not work: chat.tools.shown fails"
    assert verdict("aider", tools__shown=Status.FAIL).status is Status.PASS


def test_context_that_is_too_small_is_said_with_both_numbers() -> None:
    narrow = conclude(Need("a", "A", "chat", ("stream",), (), context=9000), found(NEEDS["pi"]), 8192)
    assert narrow.status is Status.FAIL
    assert narrow.says == "will not work: its first request takes about 9,000 tokens, the model has 8,192"
    slim = conclude(Need("a", "A", "chat", ("stream",), (), context=9000, slim=1000), found(NEEDS["pi"]), 8192)
    assert slim.status is Status.UNSURE
    assert "slim profile" in slim.says
    assert conclude(Need("a", "A", "chat", ("stream",), (), context=9000), found(NEEDS["pi"]), None).status is Status.PASS


def report(*findings: Finding, agents: tuple[Conclusion, ...] = ()) -> Report:
    return Report("http://a.example", "toy", LARGE, findings, agents, is_complete=True)


def test_exit_code_tells_network_from_what_failed_and_from_what_nobody_asked_for() -> None:
    fine, bad = Finding("chat.plain", Status.PASS, "", ""), Finding("messages.stream", Status.FAIL, "", "")
    assert exit_code(report(fine)) == ExitCode.OK
    assert exit_code(report(fine, bad)) == ExitCode.FOUND
    assert exit_code(report(Finding("tls", Status.FAIL, "", ""))) == ExitCode.NETWORK
    assert exit_code(report(Finding("key", Status.FAIL, "", ""))) == ExitCode.FOUND
    assert exit_code(report(fine, bad), [NEEDS["qwen-code"]]) == ExitCode.OK
    assert exit_code(report(fine, bad), [NEEDS["claude-code"]]) == ExitCode.FOUND


def test_exit_code_of_an_agent_whose_dialect_or_context_is_missing() -> None:
    gone = Conclusion("codex", "Codex", "responses", Status.UNSUPPORTED, "will not work: needs responses, missing")
    assert exit_code(report(agents=(gone,)), [NEEDS["codex"]]) == ExitCode.FOUND
    assert exit_code(report(agents=(gone,)), [NEEDS["qwen-code"]]) == ExitCode.OK


def test_agent_that_does_not_stream_is_warned_of_a_long_wake() -> None:
    slow = [*found(NEEDS["openhands"]), Finding("wake", Status.PASS, "", "", seconds=330.0)]
    assert "leaves after 300 s, the first answer took 330 s" in conclude(NEEDS["openhands"], slow, LARGE).says
    assert conclude(NEEDS["pi"], [*found(NEEDS["pi"]), slow[-1]], LARGE).says == "will work"

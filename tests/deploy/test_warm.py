"""Windows become jobs that do at every minute of the week what the windows say, and a plan that does not fight with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relight.config.checks import cross_checks
from relight.config.deploy import Billing, CloudRun, Deploy, Gpu, Warmth, Window
from relight.config.load import load
from relight.config.origin import DEFAULT
from relight.config.schema import Config
from relight.deploy import warm
from relight.deploy.desired import Grant, desire
from relight.deploy.findings import Case, Finding, Severity
from relight.deploy.names import account
from relight.deploy.observed import Observed
from relight.deploy.plan import plan
from relight.deploy.preflight import permissions_of, preflight
from relight.deploy.steps import CreateServiceAccount, GrantRole, RemoveSchedule, SetInvokers, SetSchedule, UpdateService
from relight.errors import ConfigError
from relight.values import Bytes, Duration
from tests.deploy.worlds import COSTS, GIB, SMOL, after, config, facts

GOLDEN = Path(__file__).parent / "golden"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WARM = account("my-project", "portfolio", "warm")
OFFICE = Window(time_zone="Europe/Berlin")
PINGS = Window(by=Warmth.PING)


def windowed(run: dict[str, Any] | None = None, **windows: Window) -> Any:
    return config(run={"warm": windows, "max_instances": 4, **(run or {})})


def jobs(*windows: Window, least: int = 0) -> list[warm.Timed]:
    run = CloudRun(warm={f"w{n}": window for n, window in enumerate(windows)}, min_instances=least)
    return [
        *warm.scaling(run, project="p", service="s", account="a@b"),
        *warm.pinging(run, service="s", account=None),
    ]


def crons(*windows: Window, least: int = 0) -> dict[str, str]:
    return {timed.schedule.name: timed.schedule.cron for timed in jobs(*windows, least=least)}


# --- what windows become ---------------------------------------------------------------------------------------------


def test_office_hours_are_a_job_that_opens_and_one_that_closes() -> None:
    up, down = jobs(OFFICE)
    assert (up.schedule.name, up.schedule.cron, up.schedule.instances) == ("s-warm-0800-1", "0 8 * * 1-5", 1)
    assert (down.schedule.name, down.schedule.cron, down.schedule.instances) == ("s-warm-1800-0", "0 18 * * 1-5", 0)
    assert {up.schedule.time_zone, down.schedule.time_zone} == {"Europe/Berlin"}
    assert up.schedule.uri == (
        "https://run.googleapis.com/v2/projects/p/locations/europe-west4/services/s?updateMask=scaling.minInstanceCount"
    )
    assert up.kept_hours == pytest.approx(50 * 730 / 168)
    assert down.kept_hours == 0


def test_window_past_midnight_closes_on_the_day_after() -> None:
    assert crons(Window(hours="22:30-06:00")) == {"s-warm-0600-0": "0 6 * * 2-6", "s-warm-2230-1": "30 22 * * 1-5"}


def test_days_that_touch_at_midnight_are_one_window() -> None:
    whole = Window(days="sat-sun", hours="00:00-24:00")
    assert crons(whole) == {"s-warm-0000-0": "0 0 * * 1", "s-warm-0000-1": "0 0 * * 6"}


def test_windows_that_overlap_keep_the_larger_number_and_fall_back_to_the_other() -> None:
    rush = Window(hours="12:00-14:00", instances=3)
    assert crons(Window(), rush, least=1) == {"s-warm-1200-3": "0 12 * * 1-5", "s-warm-1400-1": "0 14 * * 1-5"}
    assert crons(Window(), rush) == {
        "s-warm-0800-1": "0 8 * * 1-5",
        "s-warm-1200-3": "0 12 * * 1-5",
        "s-warm-1400-1": "0 14 * * 1-5",
        "s-warm-1800-0": "0 18 * * 1-5",
    }


def test_days_may_go_past_the_end_of_the_week() -> None:
    assert warm.days(Window(days="fri-mon,wed")) == (0, 2, 4, 5, 6)
    assert crons(Window(days="mon-sun"))["s-warm-0800-1"] == "0 8 * * *"


def test_ping_asks_every_few_minutes_in_its_hours() -> None:
    assert crons(PINGS) == {"s-warm-ping-w0": "*/5 8-17 * * 1-5"}
    (timed,) = jobs(PINGS)
    assert timed.schedule.instances is None
    assert timed.pings == pytest.approx(5 * 10 * 12 * 730 / 168)
    assert crons(replace(PINGS, every=Duration(3600))) == {"s-warm-ping-w0": "0 8-17 * * 1-5"}


def test_ping_past_midnight_takes_two_jobs() -> None:
    assert crons(replace(PINGS, hours="22:00-06:00")) == {
        "s-warm-ping-w0": "*/5 22-23 * * 1-5",
        "s-warm-ping-w0-2": "*/5 0-5 * * 2-6",
    }


def test_jobs_run_next_door_where_scheduler_is_not() -> None:
    assert warm.region_of("europe-west4") == "europe-west4"
    assert warm.region_of("europe-north1") == "europe-west1"
    assert warm.region_of("africa-south1") == "us-central1"


times = st.integers(0, 95).map(lambda n: f"{n // 4:02}:{n % 4 * 15:02}")
any_window = st.builds(
    Window,
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=4, unique=True).map(",".join),
    hours=st.tuples(times, times).filter(lambda both: both[0] != both[1]).map("-".join),
    instances=st.integers(1, 3),
)


@given(st.lists(any_window, min_size=1, max_size=3), st.integers(0, 2))
def test_job_that_ran_last_set_what_the_windows_say(windows: list[Window], least: int) -> None:
    wanted = warm.levels({str(n): window for n, window in enumerate(windows)}, least)
    found: dict[int, int] = {}
    for timed in jobs(*windows, least=least):
        for at in fires(timed.schedule.cron):
            assert at not in found, "two jobs at the same minute: which of them is last?"
            assert timed.schedule.instances is not None
            found[at] = timed.schedule.instances
    if not found:
        assert len(set(wanted)) == 1
        return
    kept = found[max(found)]
    for minute in range(warm.WEEK):
        kept = found.get(minute, kept)
        assert kept == wanted[minute]


def fires(cron: str) -> list[int]:
    """The minutes of the week, from Monday, at which a job without ranges of hours is due."""
    minute, hour, _, _, on = cron.split()
    return [(day - 1) % 7 * warm.DAY + int(hour) * 60 + int(minute) for day in numbers(on)]


def numbers(text: str) -> list[int]:
    if text == "*":
        return list(range(7))
    ends = [part.partition("-") for part in text.split(",")]
    return [n for first, _, last in ends for n in range(int(first), int(last or first) + 1)]


# --- the plan --------------------------------------------------------------------------------------------------------


def test_plan_with_a_window_is_the_golden_one() -> None:
    wish = windowed(office=OFFICE, pings=PINGS)
    text = msgspec.json.format(msgspec.json.encode(plan(desire(wish, facts()), Observed(), COSTS)), indent=2) + b"\n"
    file = GOLDEN / "plan-warm.json"
    if "RELIGHT_GOLDEN" in os.environ:
        file.write_bytes(text)
    assert text.decode() == file.read_text()


def test_window_has_an_account_of_its_own_that_may_change_this_service() -> None:
    made = plan(desire(windowed(office=OFFICE), facts()), Observed())
    assert WARM in [step.name for step in made.steps if isinstance(step, CreateServiceAccount)]
    grants = [step.grant for step in made.steps if isinstance(step, GrantRole)]
    assert Grant("roles/run.developer", f"serviceAccount:{WARM}", "service:portfolio") in grants
    assert f"account:{account('my-project', 'portfolio', 'serve')}" in {grant.on for grant in grants}
    kinds = [step.kind for step in made.steps]
    assert kinds[-4:] == ["smoke-test", "grant-role", "set-schedule", "set-schedule"]
    assert {"cloudscheduler.jobs.create", "iam.serviceAccounts.setIamPolicy", "run.services.setIamPolicy"} <= permissions_of(made)


def test_ping_of_a_service_that_google_guards_comes_from_somebody_who_may_call() -> None:
    guarded = desire(windowed({"invokers": ("user:a@example.com",)}, pings=PINGS), facts())
    made = plan(guarded, Observed())
    (invokers,) = [step for step in made.steps if isinstance(step, SetInvokers)]
    assert invokers.members == (f"serviceAccount:{WARM}", "user:a@example.com")
    assert [timed.schedule.account for timed in guarded.schedules] == [WARM]


def test_ping_of_an_open_service_comes_from_nobody() -> None:
    wish = desire(windowed(pings=PINGS), facts())
    assert [timed.schedule.account for timed in wish.schedules] == [None]
    assert WARM not in [one.email for one in wish.accounts]


def test_plan_leaves_a_window_open() -> None:
    desired = desire(windowed(office=Window(instances=3)), facts())
    done = after(desired, Observed())
    assert done.service is not None
    is_open = replace(done, service=replace(done.service, settings=replace(done.service.settings, min_instances=3)))
    assert plan(desired, is_open).steps == ()
    strange = replace(done, service=replace(done.service, settings=replace(done.service.settings, min_instances=2)))
    assert [step.kind for step in plan(desired, strange).steps] == ["update-service"]


def test_window_that_is_taken_out_while_it_is_open_is_closed() -> None:
    done = after(desire(windowed(office=OFFICE), facts()), Observed())
    assert done.service is not None
    is_open = replace(done, service=replace(done.service, settings=replace(done.service.settings, min_instances=1)))
    steps = plan(desire(config(run={"max_instances": 4}), facts()), is_open).steps
    assert [step.kind for step in steps] == ["update-service", "remove-schedule", "remove-schedule"]
    assert isinstance(steps[0], UpdateService)
    assert steps[0].settings.min_instances == 0


def test_kept_instances_that_become_a_window_are_let_go_until_it_opens() -> None:
    done = after(desire(windowed({"min_instances": 1}), facts()), Observed())
    steps = plan(desire(windowed(office=OFFICE), facts()), done).steps
    (update,) = [step for step in steps if isinstance(step, UpdateService)]
    assert update.settings.min_instances == 0


def test_job_that_somebody_changed_is_set_again_and_one_that_no_window_has_goes() -> None:
    desired = desire(windowed(office=OFFICE), facts())
    done = after(desired, Observed())
    other = replace(done, schedules={**done.schedules, "portfolio-warm-0800-1": None, "portfolio-warm-0700-1": None})
    steps = plan(desired, other).steps
    assert [(step.kind, step.target) for step in steps] == [
        ("set-schedule", "portfolio-warm-0800-1"),
        ("remove-schedule", "portfolio-warm-0700-1"),
    ]
    assert isinstance(steps[0], SetSchedule)
    assert isinstance(steps[1], RemoveSchedule)


def test_price_of_a_window_is_that_of_its_hours() -> None:
    (up, down) = [
        step for step in plan(desire(windowed(office=OFFICE), facts()), Observed(), COSTS).steps if isinstance(step, SetSchedule)
    ]
    assert up.cost == "$23.46 a month for 217 hours of instances kept; $0.10 a month (three jobs of a billing account are free)"
    assert down.cost == "$0.10 a month (three jobs of a billing account are free)"


# --- before anything is spent ----------------------------------------------------------------------------------------


def judged(wish: Any) -> list[Finding]:
    case = Case(config=wish, facts=facts(), desired=desire(wish, facts()), costs=COSTS)
    return [found for found in preflight(case) if found.check == "windows"]


def only(wish: Any) -> Finding:
    (found,) = judged(wish)
    return found


def test_window_is_told_with_its_price_and_without_one_nothing_is_said() -> None:
    found = only(windowed(office=OFFICE))
    assert (found.severity, found.what) == (Severity.NOTE, "217 hours a month kept awake, $23.46")
    assert only(windowed(pings=PINGS)).severity is Severity.PASS
    assert judged(config()) == []


def test_window_of_a_service_with_a_gpu_is_told_at_its_full_price() -> None:
    found = only(windowed({"gpu": Gpu.L4, "cpu": 8, "memory": Bytes(32 * GIB)}, office=OFFICE))
    assert "the full price" in found.what


@pytest.mark.parametrize(
    ("window", "run", "fit"),
    [
        (replace(PINGS, time_zone="Europe/Berln"), {}, 'time_zone = "Europe/Berlin"'),
        (replace(OFFICE, hours="08:00-08:00"), {}, 'hours = "00:00-24:00"'),
        (replace(OFFICE, instances=5), {"max_instances": 4}, "instances = 4"),
        (PINGS, {"billing": Billing.INSTANCE}, 'by = "instances"'),
        (replace(PINGS, hours="08:30-17:15"), {}, 'hours = "08:00-18:00"'),
        (replace(PINGS, every=Duration(420)), {}, 'every = "6m"'),
    ],
)
def test_window_that_cannot_work_is_an_error_with_what_would_fit(window: Window, run: dict[str, Any], fit: str) -> None:
    (found,) = [found for found in judged(windowed(run, office=window)) if found.severity is Severity.ERROR]
    assert found.fit == f"[deploy.cloudrun.warm.office]\n{fit}"


def test_windows_by_instances_share_a_time_zone() -> None:
    (found,) = [
        found for found in judged(windowed(office=OFFICE, night=Window(hours="22:00-23:00"))) if found.severity is Severity.ERROR
    ]
    assert found.fit == '[deploy.cloudrun.warm.night]\ntime_zone = "Europe/Berlin"'


def test_windows_that_never_close_are_what_min_instances_is_for() -> None:
    (found,) = [one for one in judged(windowed(all=Window(days="mon-sun", hours="00:00-24:00"))) if one.fit]
    assert (found.severity, found.fit) == (Severity.ERROR, "[deploy.cloudrun]\nmin_instances = 1")


def test_window_that_keeps_no_more_than_always_and_a_rare_ping_are_warnings() -> None:
    assert only(windowed({"min_instances": 1}, office=OFFICE)).severity is Severity.WARNING
    assert only(windowed(pings=replace(PINGS, every=Duration(900)))).fit == '[deploy.cloudrun.warm.pings]\nevery = "5m"'


def test_model_that_sleeps_in_a_kept_instance_is_noted() -> None:
    def about_sleep(wish: Any) -> list[Finding]:
        case = Case(config=wish, facts=facts(), desired=desire(wish, facts()), costs=COSTS)
        return [found for found in preflight(case) if found.check == "sleep"]

    (found,) = about_sleep(windowed(office=OFFICE))
    assert found.fit == '[models.smol]\nidle_after = "10h"'
    assert about_sleep(windowed()) == []
    awake = config(models={"smol": replace(SMOL, idle_after=Duration(36000))}, run={"warm": {"office": OFFICE}})
    assert about_sleep(awake) == []


# --- the file --------------------------------------------------------------------------------------------------------


def test_windows_are_read_from_the_file_and_the_environment(tmp_path: Path) -> None:
    text = '[models.m]\nsource = "file:m.gguf"\n[deploy.cloudrun.warm.office]\ntime_zone = "Europe/Berlin"\n'
    (tmp_path / "relight.toml").write_text(text)
    there = load(tmp_path / "relight.toml", environ={"RELIGHT_DEPLOY__CLOUDRUN__WARM__OFFICE__HOURS": "07:00-19:30"})
    assert there.config.deploy.cloudrun.warm == {"office": Window(hours="07:00-19:30", time_zone="Europe/Berlin")}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('hours = "8-18"', 'warm.office.hours: should be like "08:00-18:00", got "8-18"'),
        ('hours = "08:00-24:30"', 'should be like "08:00-18:00", got "08:00-24:30"'),
        ('days = "weekdays"', 'warm.office.days: should be like "mon-fri" or "mon,wed", got "weekdays"'),
        ('days = "Mon-Fri"', 'should be like "mon-fri" or "mon,wed", got "Mon-Fri"'),
        ('days = "mon,"', 'got "mon,"'),
        ('days = ""', 'got ""'),
        ('by = "x"', '"instances" or "ping"'),
    ],
)
def test_window_that_cannot_be_read_is_told_with_its_form(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "relight.toml").write_text(f'[models.m]\nsource = "file:m.gguf"\n[deploy.cloudrun.warm.office]\n{line}\n')
    with pytest.raises(ConfigError, match=r"relight\.toml:4: deploy\.cloudrun\.warm\.office") as caught:
        load(tmp_path / "relight.toml", environ={})
    assert said in str(caught.value)
    assert "^" not in str(caught.value)


@given(any_window)
def test_any_window_is_read_as_it_is_written(window: Window) -> None:
    said = Config(
        models={"smol": SMOL},
        deploy=Deploy(cloudrun=CloudRun(warm={"office": replace(window, hours="22:00-24:00"), "n": window})),
    )
    assert list(cross_checks(said, lambda _: DEFAULT)) == []

"""Amounts against those that were worked out by hand in the reference (USD, tier 1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.config.deploy import Billing, Gpu
from relight.cost.prices import (
    HOURS_A_MONTH,
    IDLE_TAIL_S,
    Instance,
    boosted_cpu,
    caveats,
    free_hours,
    idle_tail,
    per_hour,
    per_idle_hour,
    per_lonely_request,
    per_month_kept,
    per_thousand,
    per_wake,
)

GIB = 1 << 30
L4 = Instance(cpu=8, memory=32 * GIB, gpu=Gpu.L4, billing=Billing.INSTANCE)
CPU = Instance(cpu=8, memory=32 * GIB)


@pytest.mark.parametrize(
    ("instance", "hour"),
    [
        (L4, 1.421),
        (Instance(cpu=4, memory=16 * GIB, gpu=Gpu.L4, billing=Billing.INSTANCE), 1.047),
        (Instance(cpu=8, memory=32 * GIB, gpu=Gpu.L4, zonal_redundancy=True, billing=Billing.INSTANCE), 1.796),
        (Instance(cpu=20, memory=80 * GIB, gpu=Gpu.RTX_PRO_6000, billing=Billing.INSTANCE), 3.187),
        (Instance(cpu=8, memory=32 * GIB, billing=Billing.INSTANCE), 0.749),
        (CPU, 0.979),
        (Instance(cpu=4, memory=16 * GIB), 0.490),
        (Instance(cpu=1, memory=GIB // 2), 0.091),
    ],
)
def test_hour_of_work(instance: Instance, hour: float) -> None:
    assert per_hour(instance) == pytest.approx(hour, abs=0.0006)


def test_tail_is_paid_by_instance_alone() -> None:
    assert idle_tail(L4) == pytest.approx(0.36, abs=0.005)
    assert idle_tail(L4, 600) == pytest.approx(0.24, abs=0.005)
    assert idle_tail(CPU) == 0


def test_instance_that_is_kept_costs_a_tenth_by_request_and_all_by_instance() -> None:
    assert per_month_kept(Instance(cpu=1, memory=GIB // 2)) == pytest.approx(9.9, abs=0.05)
    assert per_idle_hour(L4) == per_hour(L4)
    assert per_month_kept(L4, 2) == pytest.approx(2 * 1037, abs=2)
    assert HOURS_A_MONTH == 730


def test_wake_pays_for_the_boost_while_it_starts_and_ten_seconds_after() -> None:
    four = Instance(cpu=4, memory=16 * GIB)
    assert per_wake(four, 5) == pytest.approx(5 * per_hour(four) / 3600 + 15 * 4 * 0.000024)
    assert per_wake(CPU, 5) == pytest.approx(5 * per_hour(CPU) / 3600)  # there is nothing beyond 8


@pytest.mark.parametrize(("cpu", "boosted"), [(1, 2), (2, 4), (4, 8), (6, 8), (8, 8), (20, 20)])
def test_boost(cpu: float, boosted: float) -> None:
    assert boosted_cpu(cpu) == boosted


def test_thousand_requests_are_rounded_up_to_tenths_of_a_second_and_pay_a_fee_each() -> None:
    assert per_thousand(CPU, 0.01) == pytest.approx(1000 * (0.1 * per_hour(CPU) / 3600 + 0.4e-6))
    assert per_thousand(L4, 0.2) == pytest.approx(1000 * 0.2 * per_hour(L4) / 3600)
    assert per_thousand(CPU, 0.31) == per_thousand(CPU, 0.4) > per_thousand(CPU, 0.3)


def test_requests_that_share_an_instance_share_its_price() -> None:
    assert per_thousand(L4, 10, together=4) == pytest.approx(per_thousand(L4, 10) / 4)


def test_lonely_request_on_a_gpu_costs_its_tail_many_times_over() -> None:
    alone = per_lonely_request(L4, start_s=20, busy_s=10)
    assert alone == pytest.approx((20 + 10 + IDLE_TAIL_S) * per_hour(L4) / 3600)
    assert per_lonely_request(CPU, start_s=2, busy_s=10) < alone / 100


def test_free_hours_are_those_of_the_scarcer_of_cpu_and_memory() -> None:
    assert free_hours(CPU) == pytest.approx(3.1, abs=0.05)
    assert free_hours(Instance(cpu=1, memory=GIB // 2)) == pytest.approx(50)
    assert free_hours(L4) == 0


def test_amounts_that_are_not_sure_say_so() -> None:
    assert caveats(L4) == ()
    assert "not verified" in caveats(Instance(cpu=1, memory=GIB, region="asia-southeast1"))[0]
    unknown = Instance(cpu=4, memory=16 * GIB, gpu=Gpu.L4, billing=Billing.INSTANCE, region="mars-north1")
    assert caveats(unknown) == (
        "the price tier of mars-north1 is not known here; the dearer one is taken",
        "the price of the GPU is that of tier 1",
    )
    assert per_hour(unknown) > per_hour(Instance(cpu=4, memory=16 * GIB, gpu=Gpu.L4, billing=Billing.INSTANCE))


@given(st.sampled_from([L4, CPU]), st.floats(0, 3600), st.floats(0, 3600))
def test_longer_is_never_cheaper(instance: Instance, one: float, two: float) -> None:
    short, long = sorted((one, two))
    assert per_thousand(instance, short) <= per_thousand(instance, long)
    assert per_wake(instance, short) <= per_wake(instance, long)

"""What Cloud Run and its surroundings cost, in USD. Pure: shapes and seconds in, amounts out; asks nobody.

Source: Google's price page for Cloud Run as stored in 2025 and 2026, and for GPUs the Billing Catalog API, read in August 2026;
nothing here was compared with a bill. Prices move: look before you rely on them (https://cloud.google.com/run/pricing).
Amounts are before the free tier, which is one discount for all projects of a billing account (`FREE`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from relight.config.deploy import Billing, Gpu

AS_OF: Final = "2026-11-21"
"""When the prices were last looked up."""
HOURS_A_MONTH: Final = 730
IDLE_TAIL_S: Final = 900
"""Longest time that Cloud Run keeps an idle instance; a shorter one is its right as well."""

_GIB: Final = 1 << 30
_STEP_MS: Final = 100  # what is billed is rounded up to this
_BOOST_AFTER_S: Final = 10


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per second: of a CPU and of a GiB of memory, by billing and by whether a request is there. `request` is for one."""

    request_cpu: float
    request_memory: float
    idle_cpu: float
    idle_memory: float
    instance_cpu: float
    instance_memory: float
    request: float


TIER_1: Final = Rates(0.000024, 0.0000025, 0.0000025, 0.0000025, 0.000018, 0.000002, 0.4e-6)
# Not verified, idle rates least of all: they are scaled as the active ones are.
TIER_2: Final = Rates(0.0000336, 0.0000035, 0.0000035, 0.0000035, 0.0000216, 0.0000024, 0.4e-6)
_TIER_1_REGIONS: Final = frozenset({"us-central1", "us-east4", "europe-west1", "europe-west4"})
_TIER_2_REGIONS: Final = frozenset({"asia-southeast1", "asia-south2", "europe-west2", "europe-west3", "europe-west6"})

# USD per second, without and with a second zone.
_GPU: Final = {Gpu.L4: (0.0001867, 0.0002909), Gpu.RTX_PRO_6000: (0.00036522, 0.00056913)}


@dataclass(frozen=True, slots=True)
class FreeTier:
    """What a billing account has free in a month: CPU and GiB seconds, and requests. There is none for GPUs."""

    cpu_s: int
    memory_gib_s: int
    requests: int


# The memory of instance-based billing is not verified.
FREE: Final = {Billing.REQUEST: FreeTier(180_000, 360_000, 2_000_000), Billing.INSTANCE: FreeTier(240_000, 450_000, 0)}


@dataclass(frozen=True, slots=True)
class Instance:
    """What is paid for: CPUs, memory in bytes, the GPU and whether a second zone is held for it, and by what it is billed."""

    cpu: float
    memory: int
    gpu: Gpu | None = None
    zonal_redundancy: bool = False
    billing: Billing = Billing.REQUEST
    region: str = "us-central1"


def rates(region: str) -> Rates:
    """The rates of a region; those of the dearer tier where its tier is not known (`caveats` says so)."""
    return TIER_1 if region in _TIER_1_REGIONS else TIER_2


def caveats(instance: Instance) -> tuple[str, ...]:
    """What is not sure about the amounts of this instance, one sentence each."""
    found = []
    if instance.region in _TIER_2_REGIONS:
        found.append(f"prices of tier 2 ({instance.region}) are not verified")
    elif instance.region not in _TIER_1_REGIONS:
        found.append(f"the price tier of {instance.region} is not known here; the dearer one is taken")
    if instance.gpu is not None and instance.region not in _TIER_1_REGIONS:
        found.append("the price of the GPU is that of tier 1")
    return tuple(found)


def per_hour(instance: Instance) -> float:
    """An hour of one instance that works."""
    return _per_second(instance) * 3600


def per_idle_hour(instance: Instance) -> float:
    """An hour of one instance that is kept (`min_instances`) and has nothing to do: with billing by instance, a full one."""
    if instance.billing is Billing.INSTANCE:
        return per_hour(instance)
    rate = rates(instance.region)
    return (rate.idle_cpu * instance.cpu + rate.idle_memory * _gib(instance)) * 3600


def per_month_kept(instance: Instance, count: int = 1) -> float:
    """A month of `count` instances that are kept awake and idle."""
    return per_idle_hour(instance) * HOURS_A_MONTH * count


def per_wake(instance: Instance, start_s: float) -> float:
    """A start of `start_s` seconds, which is billed, with the boost of the CPU that goes on for ten seconds after it."""
    extra = boosted_cpu(instance.cpu) - instance.cpu
    cpu = rates(instance.region).request_cpu if instance.billing is Billing.REQUEST else rates(instance.region).instance_cpu
    return _billed_s(start_s) * _per_second(instance) + (start_s + _BOOST_AFTER_S) * extra * cpu


def idle_tail(instance: Instance, tail_s: float = IDLE_TAIL_S) -> float:
    """What an instance costs from its last answer to its end, `tail_s` later: nothing when it is billed by request."""
    return _per_second(instance) * tail_s if instance.billing is Billing.INSTANCE else 0.0


def per_lonely_request(instance: Instance, *, start_s: float, busy_s: float) -> float:
    """One request that finds nobody awake and is followed by none: start, answer, tail."""
    fee = rates(instance.region).request if instance.billing is Billing.REQUEST else 0.0
    return per_wake(instance, start_s) + _billed_s(busy_s) * _per_second(instance) + idle_tail(instance) + fee


def per_thousand(instance: Instance, busy_s: float, *, together: int = 1) -> float:
    """A thousand requests of `busy_s` seconds each, `together` of them at a time on an instance that is awake already."""
    fee = rates(instance.region).request if instance.billing is Billing.REQUEST else 0.0
    return 1000 * (_billed_s(busy_s) * _per_second(instance) / together + fee)


def free_hours(instance: Instance) -> float:
    """Hours of work a month that the free tier covers; none with a GPU."""
    if instance.gpu is not None:
        return 0.0
    free = FREE[instance.billing]
    return min(free.cpu_s / instance.cpu, free.memory_gib_s / _gib(instance)) / 3600


def boosted_cpu(cpu: float) -> float:
    """CPUs of an instance while it starts: twice as many up to 4, else 8; more than 8 are left as they are."""
    return max(cpu, min(8.0, max(2.0, cpu * 2)))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """USD for what stands around a service; GB are decimal, and the first of each `free` number costs nothing."""

    image_gb_month: float = 0.10
    image_free_gb: float = 0.5
    bucket_gb_month: float = 0.020
    secret_version_month: float = 0.06
    secret_free_versions: int = 6
    build_minute: float = 0.016
    """Of E2_HIGHCPU_8, which the free minutes of a month do not cover."""
    schedule_month: float = 0.10


SURROUNDINGS: Final = Surroundings()


def _per_second(instance: Instance) -> float:
    rate = rates(instance.region)
    by_request = instance.billing is Billing.REQUEST
    cpu = rate.request_cpu if by_request else rate.instance_cpu
    memory = rate.request_memory if by_request else rate.instance_memory
    gpu = _GPU[instance.gpu][instance.zonal_redundancy] if instance.gpu is not None else 0.0
    return cpu * instance.cpu + memory * _gib(instance) + gpu


def _gib(instance: Instance) -> float:
    return instance.memory / _GIB


def _billed_s(seconds: float) -> float:
    return math.ceil(round(seconds * 1000, 6) / _STEP_MS) * _STEP_MS / 1000

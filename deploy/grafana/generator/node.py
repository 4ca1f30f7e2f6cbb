"""The dashboard Node: one node's power, use and sources."""

from collections.abc import Sequence

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from deploy.grafana.generator.colours import ACCOUNTS, TONES
from deploy.grafana.generator.fields import (
    ENERGY_UJ,
    IDLE_UJ,
    POWER_W,
    classes,
    level,
    rate,
    said,
)
from deploy.grafana.generator.influxql import A_GPU, NODE, UNWATCHED, WATCHED, Target, in_all, over_time
from deploy.grafana.generator.pages import LINE_TO_GPU, LINE_TO_JOB, TO_JOB, one_node, page
from deploy.grafana.generator.panels import READINGS, STEPS, UJ, lines, number, rows, shares
from joulebook.v1 import report_pb2

_CPUS = ("cpu_user_us", "cpu_system_us", "cpu_iowait_us", "cpu_steal_us")
_MEMORY = ("memory_used_bytes", "memory_cached_bytes", "swap_used_bytes")
_STATES = {
    value.number: value.name.removeprefix("SOURCE_STATE_").lower()
    for value in report_pb2.SourceState.DESCRIPTOR.values
}
_PRESSURES = (
    "pressure_cpu_some_us",
    "pressure_memory_some_us",
    "pressure_memory_full_us",
    "pressure_io_some_us",
    "pressure_io_full_us",
)


def dashboard() -> Dashboard:
    """Return it."""
    return page(
        "node",
        "joulebook: Node",
        "One node: where its power goes, how well it is measured, and how it is used.",
        [one_node()],
        {
            "In all": _figures(),
            "Power": _power(),
            "Use": _use(),
            "GPUs, where there are any": _gpus(),
            "How it is measured": _measured(),
        },
    )


def _figures() -> Sequence[Builder[Panel]]:
    return [
        number("Energy", "All accounts, gaps included.", in_all(ENERGY_UJ, "ledger", NODE), UJ, width=6),
        number(
            "Mean power",
            "The mean of the time that is shown; gaps are left out." + STEPS,
            over_time(POWER_W, "ledger", NODE, WATCHED),
            "watt",
            width=6,
            calculation="mean",
        ),
        number(
            "Not watched",
            "Energy that hardware counters show for times without an agent (gaps).",
            in_all(ENERGY_UJ, "ledger", NODE, UNWATCHED),
            UJ,
            width=6,
        ),
        number(
            "Watched",
            "The share of the time that Reports cover." + STEPS,
            over_time('sum("interval_us") / 1000 / $__interval_ms', "node", NODE),
            "percentunit",
            width=6,
            calculation="mean",
        ),
    ]


def _power() -> Sequence[Builder[Panel]]:
    accounts = [f'{ENERGY_UJ} AS "energy"', f'{IDLE_UJ} AS "idle"']
    return [
        lines(
            "Power by account",
            "Every job by itself, the system, the agent, idle capacity. What passed in gaps is left out: it "
            "is known only at their end." + STEPS,
            [Target(over_time(POWER_W, "ledger", NODE, WATCHED, by=["account"]), "$tag_account")],
            "watt",
            stacked=True,
            colours=ACCOUNTS,
            link=LINE_TO_JOB,
        ),
        lines(
            "Power by domain",
            "As each meter shows it. Not stacked: `node` and `psys` contain the others.\n\n"
            + said("energy_uj"),
            [Target(over_time(rate("energy_uj"), "domain", NODE, by=["domain"]), "$tag_domain")],
            "watt",
            interval=READINGS,
        ),
        rows(
            "Energy by account",
            "Booked to each account on this node, gaps included; idle: its part of the idle floor.",
            [Target(in_all(accounts, "ledger", NODE, by=["account"]), table=True)],
            {"energy": UJ, "idle": UJ},
            sort="energy",
            links={"account": TO_JOB},
        ),
        shares(
            "Energy by class of domain",
            "Of all accounts, active and idle floors, gaps included.",
            [Target(in_all(classes(a_second=False), "ledger", NODE), "$col")],
            colours=TONES,
            width=12,
        ),
    ]


def _use() -> Sequence[Builder[Panel]]:
    def several(names: Sequence[str], of: str = "node") -> list[Target]:
        ask = [f'{rate(n) if n.endswith("_us") else level(n)} AS "{n.rpartition("_")[0]}"' for n in names]
        return [Target(over_time(ask, of, NODE, fill="null"), "$col")]

    return [
        lines(
            "CPUs busy",
            "CPU time a second: 4 is four CPUs.\n\n" + said(*_CPUS),
            several(_CPUS),
            "suffix: CPUs",
            stacked=True,
            interval=READINGS,
        ),
        lines("Memory", said(*_MEMORY), several(_MEMORY), "bytes", interval=READINGS),
        lines(
            "Disks",
            said("read_bytes", "written_bytes"),
            [
                Target(over_time(rate("read_bytes"), "device", NODE, by=["device"]), "$tag_device read"),
                Target(
                    over_time(rate("written_bytes"), "device", NODE, by=["device"]), "$tag_device written"
                ),
            ],
            "Bps",
            interval=READINGS,
        ),
        lines(
            "Disks busy",
            said("busy_us"),
            [Target(over_time(rate("busy_us"), "device", NODE, by=["device"]), "$tag_device")],
            "percentunit",
            interval=READINGS,
        ),
        lines(
            "Network",
            said("received_bytes", "sent_bytes"),
            [
                Target(
                    over_time(rate("received_bytes"), "device", NODE, by=["device"]), "$tag_device received"
                ),
                Target(over_time(rate("sent_bytes"), "device", NODE, by=["device"]), "$tag_device sent"),
            ],
            "Bps",
            interval=READINGS,
        ),
        lines(
            "Pressure",
            "The share of the time in which tasks waited.\n\n" + said(*_PRESSURES),
            several(_PRESSURES),
            "percentunit",
            interval=READINGS,
        ),
    ]


def _gpus() -> Sequence[Builder[Panel]]:
    return [
        lines(
            "GPU power",
            said("energy_uj"),
            [
                Target(
                    over_time(rate("energy_uj"), "domain", NODE, A_GPU, by=["node", "domain"]), "$tag_domain"
                )
            ],
            "watt",
            width=8,
            interval=READINGS,
            link=LINE_TO_GPU,
        ),
        lines(
            "GPU utilisation",
            said("gpu_utilisation_ppm"),
            [Target(over_time(level("gpu_utilisation_ppm"), "device", NODE, by=["device"]), "$tag_device")],
            "percentunit",
            width=8,
            interval=READINGS,
        ),
        lines(
            "GPU temperature",
            said("gpu_temperature_mc"),
            [Target(over_time(level("gpu_temperature_mc"), "device", NODE, by=["device"]), "$tag_device")],
            "celsius",
            width=8,
            interval=READINGS,
        ),
    ]


def _measured() -> Sequence[Builder[Panel]]:
    # Sources are kept at time 0, in the retention policy that never forgets.
    said_last = 'SELECT last("state") AS "state", "reason", "fix" FROM "names"."source"'
    return [
        rows(
            "Sources",
            "What the agent reads, as it last told: what is wrong with a source, and what mends it.",
            [Target(f'{said_last} WHERE {NODE} GROUP BY "source"', table=True)],
            {},
            named={"state": _STATES},
        ),
        lines(
            "Idle floor by domain",
            said("idle_power_mw"),
            [Target(over_time(level("idle_power_mw"), "domain", NODE, by=["domain"]), "$tag_domain")],
            "watt",
            width=6,
            interval=READINGS,
        ),
        lines(
            "Meters without a reading",
            "The share of the time.\n\n" + said("unread_us"),
            [Target(over_time(rate("unread_us"), "domain", NODE, by=["domain"]), "$tag_domain")],
            "percentunit",
            width=6,
            interval=READINGS,
        ),
    ]

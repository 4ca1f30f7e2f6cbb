"""The dashboard Job: what one job drew, where, and what it did with it."""

from collections.abc import Sequence

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from deploy.grafana.generator.colours import TONES
from deploy.grafana.generator.fields import (
    ACTIVE_POWER_W,
    ACTIVE_UJ,
    ENERGY_UJ,
    IDLE_POWER_W,
    IDLE_UJ,
    MODELLED,
    POWER_W,
    classes,
    level,
    rate,
    said,
)
from deploy.grafana.generator.influxql import JOB, WORKLOAD, Target, in_all, over_time
from deploy.grafana.generator.pages import LINE_TO_NODE, TO_NODE, job, page
from deploy.grafana.generator.panels import READINGS, STEPS, UJ, lines, number, rows, shares

_IN_TIME = "of the time that is shown: choose one that holds the whole job"


def dashboard() -> Dashboard:
    """Return it."""
    return page(
        "job",
        "joulebook: Job",
        "One job on all of its nodes: what it drew, what of it it caused, and what it did with it.",
        job(),
        {"Energy": _energy(), "Power": _power(), "Use": _use()},
    )


def _energy() -> Sequence[Builder[Panel]]:
    columns = [f'{ENERGY_UJ} AS "energy"', f'{ACTIVE_UJ} AS "active"', f'{IDLE_UJ} AS "idle"']
    # Jobs are kept at time 0, in the retention policy that never forgets.
    about = '"name", "user", "source", "start_unix_us" / 1000 AS "start"'
    asked = f'SELECT {about} FROM "names"."job" WHERE "job" =~ /^${{workload:regex}}$/ GROUP BY "node"'
    figure = 'count("start_us") + 1 AS "revision", max("revised_unix_us") / 1000 AS "revised"'
    revised = f'SELECT {figure} FROM "names"."revision" WHERE "job" =~ /^${{workload:regex}}$/ GROUP BY "job"'
    return [
        number(
            "Energy",
            f"All that was booked to the job, {_IN_TIME}.",
            in_all(ENERGY_UJ, "ledger", JOB),
            UJ,
            width=3,
        ),
        number("Active", "What the job caused.", in_all(ACTIVE_UJ, "ledger", JOB), UJ, width=3),
        number(
            "Held idle",
            "The job's part of the idle floor: drawn for it, whether it used it or not.",
            in_all(IDLE_UJ, "ledger", JOB),
            UJ,
            width=3,
        ),
        number(
            "Modelled",
            "The share of the energy that no meter measured, but a model told.",
            in_all(MODELLED, "ledger", JOB),
            "percentunit",
            width=3,
        ),
        rows(
            "About",
            "What the job said of itself, on each node.",
            [Target(asked, table=True)],
            {"start": "dateTimeAsIso"},
            width=7,
            height=4,
        ),
        rows(
            "Revision",
            "Which figure of the job this is; none is shown of the first. A Report that comes once a job has "
            "ended, and changes its energy, makes the next: what was quoted before may be of an earlier one.",
            [Target(revised, table=True)],
            {"revised": "dateTimeAsIso"},
            width=5,
            height=4,
        ),
        shares(
            "Energy by class of domain",
            "Active and idle floors, gaps never.",
            [Target(in_all(classes(a_second=False), "ledger", JOB), "$col")],
            colours=TONES,
            width=12,
        ),
        rows(
            "Energy by node",
            f"Booked to the job on each node, {_IN_TIME}.",
            [Target(in_all(columns, "ledger", JOB, by=["node"]), table=True)],
            dict.fromkeys(("energy", "active", "idle"), UJ),
            sort="energy",
            links={"node": TO_NODE},
        ),
    ]


def _power() -> Sequence[Builder[Panel]]:
    both = [f'{ACTIVE_POWER_W} AS "active"', f'{IDLE_POWER_W} AS "held idle"']
    return [
        lines(
            "Power, active and held idle",
            "On all nodes together. Held idle over active is what a smaller reservation would save." + STEPS,
            [Target(over_time(both, "ledger", JOB), "$col")],
            "watt",
            stacked=True,
            colours={"active": "#0072b2", "held idle": "#56b4e9"},
        ),
        lines(
            "Power by node",
            "On each node." + STEPS,
            [Target(over_time(POWER_W, "ledger", JOB, by=["node"]), "$tag_node")],
            "watt",
            stacked=True,
            link=LINE_TO_NODE,
        ),
    ]


def _use() -> Sequence[Builder[Panel]]:
    def of(title: str, name: str, unit: str, text: str = "") -> Builder[Panel]:
        ask = level(name) if name == "memory_bytes" else rate(name)
        target = Target(over_time(ask, "workload", WORKLOAD, by=["node"]), "$tag_node")
        return lines(title, text + said(name), [target], unit, interval=READINGS, link=LINE_TO_NODE)

    gpu = over_time(level("workload_gpu_utilisation_ppm"), "workload_domain", WORKLOAD, by=["node", "domain"])
    return [
        of("CPUs busy", "cpu_us", "suffix: CPUs", "CPU time a second: 4 is four CPUs.\n\n"),
        lines(
            "GPU utilisation",
            "No data where the job uses no GPU.\n\n" + said("workload_gpu_utilisation_ppm"),
            [Target(gpu, "$tag_node $tag_domain")],
            "percentunit",
            interval=READINGS,
        ),
        of("Memory", "memory_bytes", "bytes"),
        of("Disk IO", "io_bytes", "Bps"),
    ]

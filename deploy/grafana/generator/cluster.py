"""The dashboard Cluster: who draws what, on all nodes or some."""

from collections.abc import Sequence

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from deploy.grafana.generator.colours import ACCOUNTS, TONES
from deploy.grafana.generator.fields import (
    ACTIVE_UJ,
    ENERGY_UJ,
    IDLE_UJ,
    KWH,
    MODELLED,
    POWER_W,
    classes,
    level,
    rate,
    said,
    total,
)
from deploy.grafana.generator.influxql import (
    A_GPU,
    A_JOB,
    NO_JOB,
    NODE,
    UNWATCHED,
    WATCHED,
    Target,
    in_all,
    over_time,
)
from deploy.grafana.generator.pages import LINE_TO_JOB, TO_JOB, TO_NODE, nodes, page
from deploy.grafana.generator.panels import STEPS, UJ, lines, number, rows, shares


def dashboard() -> Dashboard:
    """Return it."""
    return page(
        "cluster",
        "joulebook: Cluster",
        "Where the energy of the cluster goes: by account, user, job, node and class of domain.",
        [nodes()],
        {"In all": _figures(), "Power": _power(), "Energy of the time that is shown": _energy()},
    )


def _figures() -> Sequence[Builder[Panel]]:
    reporting = over_time('sum("ledger_rows") AS "rows"', "report", NODE, by=["node"])
    counted = (
        f'SELECT count("rows") FROM ({reporting}) WHERE $timeFilter GROUP BY time($__interval) fill(none)'
    )
    return [
        number(
            "Energy", "All that the meters delivered, gaps included.", in_all(KWH, "ledger", NODE), "kwatth"
        ),
        number(
            "Mean power",
            "All accounts together, the mean of the time that is shown; gaps are left out." + STEPS,
            over_time(POWER_W, "ledger", NODE, WATCHED),
            "watt",
            calculation="mean",
        ),
        number("Nodes reporting", "Nodes of which a Report ended in the interval.", counted, "none", width=3),
        number(
            "Idle capacity",
            "Energy of what nobody held: account `idle`.",
            in_all(ENERGY_UJ, "ledger", NODE, "\"account\" = 'idle'"),
            UJ,
        ),
        number(
            "Held idle by jobs",
            "The jobs' part of the idle floor: drawn for them, whether they used it or not.",
            in_all(IDLE_UJ, "ledger", NODE, A_JOB),
            UJ,
        ),
        number(
            "Not watched",
            "Energy that hardware counters show for times without an agent (gaps). Part of `unattributed`.",
            in_all(ENERGY_UJ, "ledger", NODE, UNWATCHED),
            UJ,
            width=3,
        ),
        number(
            "Modelled",
            "The share of the energy that no meter measured, but a model told.",
            in_all(MODELLED, "ledger", NODE),
            "percentunit",
            width=2,
        ),
    ]


def _power() -> Sequence[Builder[Panel]]:
    return [
        lines(
            "Power by account",
            "All jobs together, the system, the agent, idle capacity, and what nobody can be told of. What "
            "passed in gaps is left out: it is known only at their end." + STEPS,
            [
                Target(over_time(POWER_W, "ledger", NODE, WATCHED, A_JOB), "jobs"),
                Target(over_time(POWER_W, "ledger", NODE, WATCHED, NO_JOB, by=["account"]), "$tag_account"),
            ],
            "watt",
            width=16,
            stacked=True,
            colours=ACCOUNTS,
        ),
        shares(
            "Where the energy went",
            "The same in µJ, gaps included, with the jobs' energy divided into what they caused and the idle "
            "floor that they held. `idle`, `unattributed` and what jobs held idle is what can be saved.",
            [
                Target(in_all(f'{ACTIVE_UJ} AS "jobs, active"', "ledger", NODE, A_JOB), "$col"),
                Target(in_all(f'{IDLE_UJ} AS "jobs, held idle"', "ledger", NODE, A_JOB), "$col"),
                Target(in_all(ENERGY_UJ, "ledger", NODE, NO_JOB, by=["account"]), "$tag_account"),
            ],
            colours=ACCOUNTS,
        ),
        lines(
            "Power by job",
            "Every job by itself, over its nodes." + STEPS,
            [Target(over_time(POWER_W, "ledger", NODE, WATCHED, A_JOB, by=["account"]), "$tag_account")],
            "watt",
            stacked=True,
            link=LINE_TO_JOB,
        ),
        lines(
            "Power by user",
            "Their jobs together. What a job drew before its user was known is in none." + STEPS,
            [Target(over_time(POWER_W, "ledger", NODE, WATCHED, "\"user\" != ''", by=["user"]), "$tag_user")],
            "watt",
            stacked=True,
        ),
        lines(
            "Power by class of domain",
            "Of all accounts, by what drew it: active power, and idle floors in the lighter tone. `platform` "
            "is what a node's meter shows beyond its parts: fans, power conversion." + STEPS,
            [Target(over_time(classes(a_second=True), "ledger", NODE, WATCHED), "$col")],
            "watt",
            stacked=True,
            colours=TONES,
        ),
        lines(
            "GPUs: power and utilisation",
            "Power of all GPUs together, and their mean utilisation: power without utilisation is waste.\n\n"
            + said("energy_uj", "gpu_utilisation_ppm"),
            [
                Target(over_time(rate("energy_uj"), "domain", NODE, A_GPU), "power"),
                Target(over_time(level("gpu_utilisation_ppm"), "device", NODE), "utilisation"),
            ],
            "watt",
            colours={"power": "#0072b2", "utilisation": "#e69f00"},
            right={"utilisation": "percentunit"},
        ),
    ]


def _energy() -> Sequence[Builder[Panel]]:
    by_job = [f'{ENERGY_UJ} AS "energy"', f'{ACTIVE_UJ} AS "active"', f'{IDLE_UJ} AS "idle"']
    energies = dict.fromkeys(("energy", "active", "idle"), UJ)
    watched = [f'{total("cpu_busy_us")} AS "busy"', 'sum("interval_us") AS "watched"']
    return [
        rows(
            "Jobs by energy",
            "Booked to each job: what it caused (active), and its part of the idle floor (idle).",
            [Target(in_all(by_job, "ledger", NODE, A_JOB, by=["account"]), table=True)],
            energies,
            sort="energy",
            links={"account": TO_JOB},
        ),
        rows(
            "Users by energy",
            "Their jobs together. What a job drew before its user was known is in none.",
            [Target(in_all(by_job, "ledger", NODE, "\"user\" != ''", by=["user"]), table=True)],
            energies,
            width=6,
            sort="energy",
        ),
        rows(
            "Accounts other than jobs",
            "Booked to the system, the agent, idle capacity, and to nobody that is known, gaps included.",
            [Target(in_all(f'{ENERGY_UJ} AS "energy"', "ledger", NODE, NO_JOB, by=["account"]), table=True)],
            energies,
            width=6,
            sort="energy",
        ),
        rows(
            "Nodes by energy",
            "energy: all accounts, gaps included. power: the energy of Reports by the time that they cover "
            "(watched). busy: CPU time.\n\n" + said("cpu_busy_us"),
            [
                Target(in_all(f'{ENERGY_UJ} AS "energy"', "ledger", NODE, by=["node"]), table=True),
                Target(
                    in_all(f'{ENERGY_UJ} AS "reported"', "ledger", NODE, WATCHED, by=["node"]), table=True
                ),
                Target(in_all(watched, "node", NODE, by=["node"]), table=True),
            ],
            # µJ by µs are watts.
            {"energy": UJ, "power": "watt", "watched": "µs", "busy": "µs"},
            ratio=("power", "reported", "watched"),
            hidden=["reported"],
            sort="energy",
            links={"node": TO_NODE},
        ),
        shares(
            "Energy by class of domain",
            "Of all accounts, active and idle floors, gaps included.",
            [Target(in_all(classes(a_second=False), "ledger", NODE), "$col")],
            colours=TONES,
            width=12,
        ),
    ]

"""What all dashboards have in common: their names, how they lead to each other, and their variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana.generator.influxql import A_GPU, A_JOB, DATA_SOURCE, JOB, NODE


def page(
    name: str,
    title: str,
    text: str,
    variables: Sequence[dashboard.QueryVariable],
    sections: Mapping[str, Sequence[Builder[Panel]]],
) -> Dashboard:
    """Return a dashboard of sections of panels.

    Its range begins and ends with a minute, so that no interval is shown in part, and ends a minute ago, when
    the last Reports of all nodes have come.
    """
    link = dashboard.DashboardLink("joulebook").type(DashboardLinkType.DASHBOARDS).tags(["joulebook"])
    made = (
        dashboard.Dashboard(title)
        .uid(f"joulebook-{name}")
        .description(text)
        .tags(["joulebook"])
        .time("now-3h/m", "now-1m/m")
        .refresh("1m")
        .timezone("browser")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(link.keep_time(True).include_vars(True))
        .variables(list(variables))
    )
    for section, panels in sections.items():
        made.with_row(dashboard.Row(section))
        for panel in panels:
            made.with_panel(panel)
    built = made.build()
    assert built.templating is not None
    for variable in built.templating.list_val or []:
        # What is not shown follows from what is; in the address it would only contradict.
        variable.skip_url_sync = variable.hide == VariableHide.HIDE_VARIABLE
    for number, placed in enumerate(built.panels or [], start=1):
        placed.id_val = number
    return built


def _tag_values(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATA_SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
    )


def one_node() -> dashboard.QueryVariable:
    """Choose a node."""
    return _tag_values("node", "Node", 'SHOW TAG VALUES FROM "ledger" WITH KEY = "node"')


def _any(variable: dashboard.QueryVariable) -> dashboard.QueryVariable:
    """Let several be chosen, or all, as it is at first."""
    everything = VariableOption(selected=True, text=["All"], value=["$__all"])
    return variable.multi(True).include_all(True).all_value(".*").current(everything)


def nodes() -> dashboard.QueryVariable:
    """Choose nodes, or all."""
    return _any(one_node())


def nodes_with_gpus() -> dashboard.QueryVariable:
    """Choose among the nodes that have GPUs, or all."""
    query = f'SHOW TAG VALUES FROM "domain" WITH KEY = "node" WHERE {A_GPU}'
    return _any(_tag_values("node", "Node", query))


def gpus() -> dashboard.QueryVariable:
    """Choose among the chosen nodes' GPUs, or all."""
    query = f'SHOW TAG VALUES FROM "domain" WITH KEY = "domain" WHERE {A_GPU} AND {NODE}'
    return _any(_tag_values("gpu", "GPU", query))


def job() -> Sequence[dashboard.QueryVariable]:
    """Choose a job among those of the time that is shown; workload, not shown, is its name without job:."""
    query = f'SHOW TAG VALUES FROM "ledger" WITH KEY = "account" WHERE {A_JOB} AND $timeFilter'
    account = _tag_values("job", "Job", query).regex("/^(?<value>job:(?<text>.*))$/")
    query = f'SHOW TAG VALUES FROM "ledger" WITH KEY = "account" WHERE {JOB}'
    workload = _tag_values("workload", "", query).regex("/^job:(.*)$/").hide(VariableHide.HIDE_VARIABLE)
    return [account, workload]


def _link(title: str, name: str, variables: str) -> dict[str, str]:
    return {"title": title, "url": f"/d/joulebook-{name}/{name}?{variables}&${{__url_time_range}}"}


_CELL = "${__value.raw:percentencode}"
# From a table's cell.
TO_NODE = _link("Node", "node", f"var-node={_CELL}")
TO_JOB = _link("Job", "job", f"var-job={_CELL}")
TO_GPU = _link("GPU", "gpu", f"var-gpu={_CELL}&var-node=${{__data.fields.node:percentencode}}")
# From a line, by its tags.
LINE_TO_NODE = _link("Node", "node", "var-node=${__field.labels.node:percentencode}")
LINE_TO_JOB = _link("Job", "job", "var-job=${__field.labels.account:percentencode}")
LINE_TO_GPU = _link(
    "GPU",
    "gpu",
    "var-gpu=${__field.labels.domain:percentencode}&var-node=${__field.labels.node:percentencode}",
)

"""The kinds of panel that the dashboards are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import common, piechart, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue
from grafana_foundation_sdk.models.piechart import PieChartLegendValues

from deploy.grafana.generator.colours import by_last_letter, fixed
from deploy.grafana.generator.influxql import DATA_SOURCE, Target

# A Report is 10 s long and its ledger rows are at its end. A bucket shorter than a Report would have all of
# its energy or nothing; one of a few Reports would saw, as Reports at its edges fall in or out.
REPORTS = "1m"
# Readings are a second apart.
READINGS = "10s"
# Energy is asked for in µJ, exactly as it is in the books; Grafana scales it to J, kJ, MJ.
UJ = "si:µJ"
STEPS = (
    "\n\nThe sum over each interval by its length. The first and the last interval are shown whole only "
    "where the range begins and ends with one, as the default range does."
)


def _refs(targets: Sequence[Target]) -> list[Target]:
    for letter, target in zip("ABCDEFGH", targets, strict=False):
        target.ref_id = letter
    return list(targets)


def number(
    title: str,
    text: str,
    query: str,
    unit: str,
    *,
    width: int = 4,
    calculation: str = "lastNotNull",
    interval: str = REPORTS,
) -> stat.Panel:
    """Return one figure; with a line behind it where it is a mean or a newest value over time."""
    lines = "time($__interval)" in query
    return (
        stat.Panel()
        .title(title)
        .description(text)
        .datasource(DATA_SOURCE)
        .targets(_refs([Target(query)]))  # type: ignore[arg-type]  # list is invariant
        .unit(unit)
        .interval(interval)
        .height(4)
        .span(width)
        .no_value("0")
        .color_mode(BigValueColorMode.NONE)
        .graph_mode(BigValueGraphMode.AREA if lines else BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs([calculation]))
    )


def lines(
    title: str,
    text: str,
    targets: Sequence[Target],
    unit: str,
    *,
    width: int = 12,
    height: int = 9,
    stacked: bool = False,
    interval: str = REPORTS,
    colours: Mapping[str, str] | None = None,
    link: Mapping[str, str] | None = None,
    right: Mapping[str, str] | None = None,
) -> timeseries.Panel:
    """Return values over time: areas on top of each other, or lines.

    right gives some their own unit, on an axis of their own.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(DATA_SOURCE)
        .targets(_refs(targets))  # type: ignore[arg-type]  # list is invariant
        .unit(unit)
        .min(0)
        .interval(interval)
        .height(height)
        .span(width)
        # A point is at the beginning of its interval.
        .line_interpolation(LineInterpolation.STEP_AFTER)
        .line_width(1)
        .fill_opacity(70 if stacked else 0)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.RIGHT)
            .calcs(["mean", "max"])
        )
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    for pattern, colour in by_last_letter():
        panel.override_by_regexp(pattern, [colour])
    for name, shade in (colours or {}).items():
        panel.override_by_name(name, [fixed(shade)])
    for name, own in (right or {}).items():
        axis = DynamicConfigValue("custom.axisPlacement", "right")
        panel.override_by_name(name, [DynamicConfigValue("unit", own), axis])
    if link:
        panel.override_by_regexp("/.*/", [DynamicConfigValue("links", [link])])
    return panel


def shares(
    title: str, text: str, targets: Sequence[Target], *, colours: Mapping[str, str], width: int = 8
) -> piechart.Panel:
    """Return how a total of µJ is divided."""
    panel = (
        piechart.Panel()
        .title(title)
        .description(text)
        .datasource(DATA_SOURCE)
        .targets(_refs(targets))  # type: ignore[arg-type]  # list is invariant
        .unit(UJ)
        .height(9)
        .span(width)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .legend(
            piechart.PieChartLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.RIGHT)
            .values([PieChartLegendValues.VALUE, PieChartLegendValues.PERCENT])
        )
    )
    for name, shade in colours.items():
        panel.override_by_name(name, [fixed(shade)])
    return panel


def rows(
    title: str,
    text: str,
    targets: Sequence[Target],
    units: Mapping[str, str],
    *,
    width: int = 12,
    height: int = 9,
    ratio: tuple[str, str, str] | None = None,
    hidden: Sequence[str] = (),
    sort: str = "",
    links: Mapping[str, Mapping[str, str]] | None = None,
    named: Mapping[str, Mapping[int, str]] | None = None,
) -> table.Panel:
    """Return a table. units are by column; ratio (name, over, under) adds a column of two others.

    named gives a column's numbers names.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(text)
        .datasource(DATA_SOURCE)
        .targets(_refs(targets))  # type: ignore[arg-type]  # list is invariant
        .height(height)
        .span(width)
        .filterable(True)
    )
    if len(targets) > 1:
        panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    if ratio:
        name, over, under = ratio
        binary = {"left": over, "operator": "/", "right": under}
        options = {"mode": "binary", "alias": name, "binary": binary, "replaceFields": False}
        panel.with_transformation(DataTransformerConfig(id_val="calculateField", options=options))
    excluded = dict.fromkeys(("Time", "time", *hidden), True)
    organized = {"excludeByName": excluded, "indexByName": {}, "renameByName": {}}
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=organized))
    if sort:
        by = {"fields": {}, "sort": [{"field": sort, "desc": True}]}
        panel.with_transformation(DataTransformerConfig(id_val="sortBy", options=by))
    for name, unit in units.items():
        panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    for name, meanings in (named or {}).items():
        options = {str(number): {"text": text} for number, text in meanings.items()}
        mapping = {"type": "value", "options": options}
        panel.override_by_name(name, [DynamicConfigValue("mappings", [mapping])])
    for name, link in (links or {}).items():
        panel.override_by_name(name, [DynamicConfigValue("links", [link])])
    return panel

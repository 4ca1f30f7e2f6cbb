"""`joulebook doctor`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import click
from rich.table import Table

from joulebook.agent import main as program
from joulebook.agent.characterise.load import LoadEndedError
from joulebook.cli.options import FileOption, configuration, json_option, roots_options, server_option
from joulebook.cli.server import Server, ServerError
from joulebook.cli.tables import show, table

_GIB = 1 << 30


@click.command()
@FileOption
@server_option
@roots_options
@click.option(
    "--characterise",
    is_flag=True,
    help="Load all CPUs, or --load, for a minute or more and find out what sensors do.",
)
@click.option(
    "--load",
    metavar="CMD",
    default="",
    help="Characterise with this command as the load, such as one that works on the GPUs; it is stopped and "
    "continued in turns, and has to run all the time.",
)
@click.option(
    "--seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="How long to load them for."
)
@json_option
def doctor(
    config: str | None,
    server: str,
    characterise: bool,
    load: str,
    seconds: float,
    as_json: bool,
    **roots: str | None,
) -> None:
    """Say what of this machine is measured and how well, what is not and why, and what mends it.

    Also whether the collector answers; if not, the exit status is 1. With --characterise: the update period,
    averaging window, lag and cost of each power sensor, as found beside what is documented. CPUs alone are
    loaded for that, unless --load names something that loads more.
    """
    agent = configuration(config, {("agent", n): v for n, v in roots.items()}).agent
    if load and not characterise:
        raise click.UsageError("--load is of --characterise: expected both")
    if characterise:
        try:
            _characterise(program.characterise(agent, seconds, load), as_json)
        except LoadEndedError as error:
            raise click.ClickException(str(error)) from None
        return
    found = program.doctor(agent)
    reason = ""
    try:
        Server(server, timeout_s=5.0).get("nodes", limit=1)
    except ServerError as error:
        reason = error.message
    found["collector"] = {"url": server, "reachable": not reason, "reason": reason}
    if as_json:
        click.echo(json.dumps(found))
    else:
        show(*report(found))
    sys.exit(1 if reason else 0)


def _characterise(sensors: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"sensors": sensors}))
        return
    if not sensors:
        click.echo("No power sensor here: energy is modelled, and a model has nothing to find out.")
        return
    columns = ["domain", "by", "period", "documented", "window", "lag", "followed by", "read", "note"]
    rows = [
        [
            one["domain"],
            one["source"],
            _maybe(one["period_us"]),
            _period(one["documented_period_us"]),
            _maybe(one["window_us"]),
            _maybe(one["lag_us"]),
            "" if one["rise_mw"] is None else f"{one['rise_mw'] / 1000:.1f} W",
            f"{one['read_us']:.0f} µs",
            one["note"],
        ]
        for one in sensors
    ]
    show(table(columns, rows, right=("period", "documented", "window", "lag", "followed by", "read")))


def _maybe(period_us: int | None) -> str:
    return "" if period_us is None else _period(round(period_us, -3))


def report(found: dict[str, Any]) -> Iterator[Table | str]:
    """Yield the parts of a page that fits into a ticket."""
    yield _head(found["host"])
    columns = ["source", "state", "period", "accuracy", "read", "gives, or why not"]
    domains = {domain["domain"]: domain for domain in found["domains"]}
    rows = [_source_row(source, domains) for source in found["sources"]]
    yield table(columns, rows, right=("read",))
    if domains:
        columns = ["domain", "given by", "as", "period", "±", "could also be given by"]
        yield table(columns, [_domain_row(domain) for domain in found["domains"]], right=("period", "±"))
    why: dict[str, list[str]] = {}
    for one in found["modelled"]:
        why.setdefault(one["reason"], []).append(one["domain"])
    if why:
        yield "Modelled for lack of a sensor:"
        yield from (f"- {', '.join(names)}: {reason}" for reason, names in why.items())
    fixes: dict[str, list[str]] = {}
    for source in found["sources"]:
        if source["fix"]:
            fixes.setdefault(source["fix"], []).append(source["name"])
    if fixes:
        yield "What mends it:"
        yield from (f"- {', '.join(names)}: {fix}" for fix, names in fixes.items())
    collector = found["collector"]
    yield f"Collector: {collector['reason'] or collector['url'] + ' answers'}"


def _head(host: dict[str, Any]) -> str:
    virtual = f", virtual ({host['virtualization']})" if host["virtualization"] else ""
    at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(host["time_unix_s"]))
    return (
        f"joulebook {host['joulebook']} on {host['node']}, {at}\n"
        f"Linux {host['kernel']} {host['machine']}, Python {host['python']}; {host['cpu'] or 'unknown CPU'}: "
        f"{_count(host['logical_cpus'], 'CPU')} in {_count(host['packages'], 'package')}, "
        f"{host['memory_bytes'] / _GIB:.0f} GiB{virtual}"
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _source_row(source: dict[str, Any], domains: dict[str, Any]) -> list[str]:
    gives = [domains[name] for name in source["gives"]]
    period, accuracy = _first(source["period"]), _first(source["accuracy"])
    if gives:
        period = _span(sorted({domain["period_us"] for domain in gives}), _period)
        accuracy = _span(sorted({domain["accuracy_ppm"] for domain in gives}), _percent)
    elif source["state"] in ("absent", "unreadable"):
        period = accuracy = ""
    read = "" if source["read_us"] is None or source["state"] == "absent" else f"{source['read_us']:.0f} µs"
    says = "; ".join(filter(None, (", ".join(source["gives"]), source["shows"], source["reason"])))
    return [source["name"], source["state"], period, accuracy, read, says]


def _domain_row(domain: dict[str, Any]) -> list[str]:
    return [
        domain["domain"],
        domain["source"],
        domain["kind"].replace("_", " "),
        _period(domain["period_us"]),
        _percent(domain["accuracy_ppm"]),
        ", ".join(domain["also"]),
    ]


def _first(text: str) -> str:
    """Return the first clause of a fact."""
    return text.partition(";")[0].partition(",")[0]


def _span(values: list[int], said: Any) -> str:
    return said(values[0]) if len(values) == 1 else f"{said(values[0])} to {said(values[-1])}"


def _period(period_us: int) -> str:
    return f"{period_us / 1000:g} ms" if period_us < 1_000_000 else f"{period_us / 1e6:g} s"


def _percent(ppm: int) -> str:
    return f"±{ppm / 10_000:g} %"

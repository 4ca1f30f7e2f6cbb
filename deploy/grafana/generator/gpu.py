"""The dashboard GPU: what GPUs draw and do, and for whom."""

from collections.abc import Sequence

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from deploy.grafana.generator.fields import level, rate, said, total
from deploy.grafana.generator.influxql import A_GPU, DEVICE, DOMAIN, NODE, Target, in_all, over_time
from deploy.grafana.generator.pages import LINE_TO_NODE, TO_GPU, gpus, nodes_with_gpus, page
from deploy.grafana.generator.panels import READINGS, UJ, lines, number, rows

_OTHER_THAN_LOAD = ("gpu_throttled_power_us", "gpu_throttled_thermal_us", "gpu_throttled_other_us")
_OF_DOMAIN = "$tag_node $tag_domain"
_OF_DEVICE = "$tag_node $tag_device"


def dashboard() -> Dashboard:
    """Return it."""
    return page(
        "gpu",
        "joulebook: GPU",
        "GPUs: what they draw and do, and for whom.",
        [nodes_with_gpus(), gpus()],
        {"Energy": _energy(), "Use": _use()},
    )


def _gauge(title: str, name: str, unit: str) -> Builder[Panel]:
    query = over_time(level(name), "device", NODE, DEVICE, by=["node", "device"])
    return lines(title, said(name), [Target(query, _OF_DEVICE)], unit, interval=READINGS, link=LINE_TO_NODE)


def _energy() -> Sequence[Builder[Panel]]:
    power = over_time(rate("energy_uj"), "domain", NODE, DOMAIN, A_GPU, by=["node", "domain"])
    floor = over_time(level("idle_power_mw"), "domain", NODE, DOMAIN, A_GPU, by=["node", "domain"])
    energy = f'{total("energy_uj")} AS "energy"'
    return [
        number(
            "Energy",
            "Of the chosen GPUs; what passed in gaps is left out.\n\n" + said("energy_uj"),
            in_all(total("energy_uj"), "domain", NODE, DOMAIN, A_GPU),
            UJ,
            width=6,
        ),
        number(
            "Power",
            "Of the chosen GPUs together, newest.\n\n" + said("energy_uj"),
            over_time(rate("energy_uj"), "domain", NODE, DOMAIN, A_GPU),
            "watt",
            width=6,
        ),
        number(
            "Utilisation",
            "The mean of the chosen GPUs over the time that is shown.\n\n" + said("gpu_utilisation_ppm"),
            in_all(level("gpu_utilisation_ppm"), "device", NODE, DEVICE),
            "percentunit",
            width=6,
        ),
        number(
            "Hottest",
            "The highest temperature of the chosen GPUs.\n\n" + said("gpu_temperature_mc"),
            in_all(level("gpu_temperature_mc").replace("mean(", "max("), "device", NODE, DEVICE),
            "celsius",
            width=6,
        ),
        lines(
            "Power",
            "Draw, and the idle floor below it: what is above the floor is active.\n\n"
            + said("energy_uj", "idle_power_mw"),
            [Target(power, _OF_DOMAIN), Target(floor, f"{_OF_DOMAIN} idle floor")],
            "watt",
            interval=READINGS,
            link=LINE_TO_NODE,
        ),
        rows(
            "Energy by GPU",
            "What passed in gaps is left out.\n\n" + said("energy_uj"),
            [Target(in_all(energy, "domain", NODE, DOMAIN, A_GPU, by=["node", "domain"]), table=True)],
            {"energy": UJ},
            sort="energy",
            links={"domain": TO_GPU},
        ),
    ]


def _use() -> Sequence[Builder[Panel]]:
    used_by = over_time(
        level("workload_gpu_utilisation_ppm"),
        "workload_domain",
        NODE,
        DOMAIN,
        by=["workload", "node", "domain"],
    )
    return [
        lines(
            "Who uses it",
            said("workload_gpu_utilisation_ppm"),
            [Target(used_by, f"$tag_workload on {_OF_DOMAIN}")],
            "percentunit",
            interval=READINGS,
        ),
        _gauge("Utilisation", "gpu_utilisation_ppm", "percentunit"),
        _gauge("Memory utilisation", "gpu_memory_utilisation_ppm", "percentunit"),
        _gauge("Memory used", "gpu_memory_used_bytes", "bytes"),
        _gauge("Temperature", "gpu_temperature_mc", "celsius"),
        lines(
            "Throttled",
            "The share of the time, by reason.\n\n" + said(*_OTHER_THAN_LOAD),
            [
                Target(
                    over_time(rate(name), "device", NODE, DEVICE, by=["node", "device"]),
                    f"{_OF_DEVICE} {name.split('_')[2]}",
                )
                for name in _OTHER_THAN_LOAD
            ],
            "percentunit",
            interval=READINGS,
        ),
        _gauge("Power that the driver shows", "gpu_power_mw", "watt"),
    ]

"""Renders docs/metrics.md from the catalogue: python -m joulebook.v1.reference > docs/metrics.md."""

from joulebook.v1.catalogue import MetricEntry, catalogue, gauge_name, total_name


def prometheus_name(entry: MetricEntry) -> str:
    """Return the name under which Prometheus reads a metric."""
    build = total_name if entry.is_counter else gauge_name
    return build(entry.subject.partition("_")[0], entry.thing, entry.unit)


def render() -> str:
    """Return the metrics reference as Markdown."""
    lines = [
        "# Metrics",
        "",
        "Made from `proto/joulebook/v1/metrics.proto` by `make stubs`; change it there.",
        "Values travel and are stored as integers in the unit given; Prometheus names are in base units.",
        "What of it is at the collector's `/metrics`: [prometheus.md](prometheus.md).",
    ]
    for subject in ("domain", "node", "device", "workload", "workload_domain"):
        lines += [
            "",
            f"## Of a {subject.replace('_', ' on a ')}",
            "",
            "| metric | unit | kind | Prometheus | meaning |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| `{e.name}` | {e.unit} | {'counter' if e.is_counter else 'gauge'} "
            f"| `{prometheus_name(e)}` | {e.help} |"
            for e in catalogue().values()
            if e.subject == subject
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render(), end="")

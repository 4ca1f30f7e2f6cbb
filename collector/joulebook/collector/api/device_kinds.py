"""The kinds of devices whose figures Prometheus may be given; read with the configuration, so light."""

from collections.abc import Sequence

from joulebook.v1 import report_pb2

# What may be asked for: a kind of device, or the energy domains.
DOMAIN = "domain"
KINDS = {
    value.name.removeprefix("DEVICE_KIND_").lower(): value.number
    for value in report_pb2.DeviceKind.DESCRIPTOR.values
    if value.number
}
_MOST_SAMPLES = 10_000_000


def errors(kinds: Sequence[str], most: int) -> list[str]:
    """Return what is wrong with the options, one line each."""
    known = [DOMAIN, *KINDS]
    wrong = [
        f"collector.metrics_devices: {kind!r} is no kind: expected some of {', '.join(known)}"
        for kind in kinds
        if kind not in known
    ]
    if not 1 <= most <= _MOST_SAMPLES:
        wrong.append(f"collector.metrics_device_samples = {most}: expected 1 to {_MOST_SAMPLES}")
    return wrong

"""What the machine is: read once."""

from pathlib import Path

from joulebook.agent.source import Roots
from joulebook.v1 import report_pb2

_MOST_MEMORY_BYTES = 1 << 50


def parse_cpuinfo(data: bytes) -> tuple[int, str, bool]:
    """Return (logical CPUs, model, whether a hypervisor shows itself) from /proc/cpuinfo (proc(5))."""
    cpus, model, hypervisor = 0, "", False
    for line in data.splitlines():
        key, _, value = line.partition(b":")
        key = key.strip()
        if key == b"processor":
            cpus += 1
        elif key in (b"model name", b"Model") and not model:
            model = value.strip().decode(errors="replace")
        elif key == b"flags":
            hypervisor = hypervisor or b"hypervisor" in value.split()
    return cpus, model, hypervisor


def parse_mem_total_bytes(data: bytes) -> int:
    """Return MemTotal of /proc/meminfo (proc(5)) in bytes."""
    for line in data.splitlines():
        if line.startswith(b"MemTotal:"):
            number = line[len(b"MemTotal:") :].partition(b"k")[0].strip()
            size_bytes = int(number) * 1024 if number.isdigit() and len(number) < 16 else 0
            return size_bytes if 0 <= size_bytes <= _MOST_MEMORY_BYTES else 0
    return 0


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def read_boot_id(roots: Roots) -> bytes:
    """Return the kernel's boot id, 16 bytes (proc(5), sys/kernel/random/boot_id); empty: not told."""
    text = _text(roots.procfs / "sys/kernel/random/boot_id")
    try:
        boot_id = bytes.fromhex(text.decode("ascii").strip().replace("-", ""))
    except ValueError:
        return b""
    return boot_id if len(boot_id) == 16 else b""


def read_host(roots: Roots) -> report_pb2.Host:
    """Return the machine's CPUs, memory and what it runs in."""
    cpus, model, hypervisor = parse_cpuinfo(_text(roots.procfs / "cpuinfo"))
    packages = {
        _text(path) for path in roots.sysfs.glob("devices/system/cpu/cpu[0-9]*/topology/physical_package_id")
    }
    vendor = _text(roots.sysfs / "class/dmi/id/sys_vendor").decode(errors="replace").strip()
    return report_pb2.Host(
        logical_cpus=max(cpus, 1),
        packages=max(len(packages), 1),
        memory_bytes=parse_mem_total_bytes(_text(roots.procfs / "meminfo")),
        cpu_model=model,
        virtualization=(vendor or "hypervisor") if hypervisor else "",
    )

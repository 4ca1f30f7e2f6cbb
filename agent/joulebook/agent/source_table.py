"""The facts of every source of the agent, in the order of docs/sources.md."""

from joulebook.agent.meters import amdgpu, battery, hwmon, ipmi, model, nvml, pdu, pm_counters, rapl, redfish
from joulebook.agent.source_facts import SourceFacts
from joulebook.agent.usage import (
    ceph,
    cephfs,
    cpu,
    disks,
    frequency,
    hdfs,
    hugepages,
    infiniband,
    lustre,
    memory,
    network,
    nfs,
    numa,
    packages,
    pressure,
    throttling,
)

METERS: tuple[SourceFacts, ...] = (
    rapl.FACTS,
    pm_counters.FACTS,
    redfish.FACTS,
    ipmi.FACTS,
    hwmon.FACTS,
    pdu.FACTS,
    battery.FACTS,
    nvml.FACTS,
    amdgpu.FACTS,
    model.FACTS,
)
USAGE: tuple[SourceFacts, ...] = (
    cpu.FACTS,
    packages.FACTS,
    frequency.FACTS,
    throttling.FACTS,
    memory.FACTS,
    numa.FACTS,
    hugepages.FACTS,
    pressure.FACTS,
    disks.FACTS,
    network.FACTS,
    infiniband.FACTS,
    nfs.FACTS,
    lustre.FACTS,
    cephfs.FACTS,
    ceph.FACTS,
    hdfs.FACTS,
)

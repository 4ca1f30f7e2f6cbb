"""What sources can be told: a section [agent.NAME] each, whose struct lives with the source.

A new source adds its struct as one line here; file, environment (JOULEBOOK__AGENT__NAME__KEY), sample and
`joulebook config` follow from it. A struct has errors(), as AgentConfig has.
"""

import msgspec

from joulebook.agent.meters.gauges import GaugesConfig
from joulebook.agent.meters.hwmon import HwmonConfig
from joulebook.agent.meters.model import ModelConfig
from joulebook.agent.meters.node_config import IpmiConfig, PduConfig, RedfishConfig
from joulebook.agent.meters.tpu_config import TpuConfig
from joulebook.agent.usage.ceph import CephConfig
from joulebook.agent.usage.hdfs import HdfsConfig
from joulebook.agent.usage.nvme import NvmeConfig
from joulebook.agent.usage.smart import SmartConfig
from joulebook.agent.workloads.settings import WorkloadsSettings


class SourceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The sections of all sources, in the order of their names."""

    ceph: CephConfig = msgspec.field(default_factory=CephConfig)
    gauges: GaugesConfig = msgspec.field(default_factory=GaugesConfig)
    hdfs: HdfsConfig = msgspec.field(default_factory=HdfsConfig)
    hwmon: HwmonConfig = msgspec.field(default_factory=HwmonConfig)
    ipmi: IpmiConfig = msgspec.field(default_factory=IpmiConfig)
    model: ModelConfig = msgspec.field(default_factory=ModelConfig)
    nvme: NvmeConfig = msgspec.field(default_factory=NvmeConfig)
    pdu: PduConfig = msgspec.field(default_factory=PduConfig)
    redfish: RedfishConfig = msgspec.field(default_factory=RedfishConfig)
    smart: SmartConfig = msgspec.field(default_factory=SmartConfig)
    tpu: TpuConfig = msgspec.field(default_factory=TpuConfig)
    workloads: WorkloadsSettings = msgspec.field(default_factory=WorkloadsSettings)

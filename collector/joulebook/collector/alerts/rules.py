"""The rules: what is watched, with the thresholds that are in force."""

from __future__ import annotations

from joulebook.collector.alerts.alert import Rule
from joulebook.collector.alerts.config import AlertsConfig
from joulebook.collector.alerts.names import (
    AGENT_SILENT,
    CPU_HELD_IDLE,
    GPU_HELD_IDLE,
    NODE_UNALLOCATED,
    RESIDUAL_NOT_ZERO,
    SOURCE_SUSPECT,
)

# Sensors jitter, and a GPU with a context idles higher than without: whatever its limit, this much above the
# floor is idle.
IDLE_BAND_MW = 30_000


def rules(config: AlertsConfig) -> tuple[Rule, ...]:
    """Return the rules that are watched."""
    every = (
        Rule(
            GPU_HELD_IDLE,
            "warning",
            "GPU held but idle",
            "Nobody else can use this GPU. Ask the job's owner, or end the job.",
            _us(config.gpu_held_idle_for_s),
            "a job holds the GPU, or has processes there while nobody holds it; its utilisation is 0 and its "
            f"power within {IDLE_BAND_MW // 1000} W or {config.gpu_held_idle_band:.0%} of the way from its "
            f"idle floor to its limit, for {config.gpu_held_idle_for_s:g} s of reported time",
        ),
        Rule(
            CPU_HELD_IDLE,
            "warning",
            "CPUs held but idle",
            "Nobody else can use these CPUs. Ask the job's owner, or reserve fewer.",
            _us(config.cpu_held_idle_for_s),
            f"a job uses at most {config.cpu_held_idle_share:.0%} of the CPUs that it reserved, and none of "
            f"the GPUs that it holds, for {config.cpu_held_idle_for_s:g} s of reported time",
        ),
        Rule(
            NODE_UNALLOCATED,
            "info",
            "Node on but unallocated",
            "Power it down until there is work for it, or give it work.",
            _us(config.node_unallocated_for_s),
            f"no job is on the node for {config.node_unallocated_for_s:g} s of reported time",
        ),
        Rule(
            AGENT_SILENT,
            "critical",
            "Agent silent",
            "Look at `systemctl status joulebook-agent` on the node, and at the network between. What its "
            "hardware counters count meanwhile is booked as unattributed.",
            _us(config.agent_silent_for_s),
            f"the node has sent nothing for {config.agent_silent_for_s:g} s",
        ),
        Rule(
            SOURCE_SUSPECT,
            "warning",
            "Source suspect",
            "Its evidence says what is wrong and what mends it; `joulebook doctor` on the node says more.",
            _us(config.source_suspect_for_s),
            "a meter's readings contradict themselves, or the agent's spool loses Reports or holds them in "
            f"memory, for {config.source_suspect_for_s:g} s",
        ),
        Rule(
            RESIDUAL_NOT_ZERO,
            "critical",
            "Books do not balance",
            "This is a fault of joulebook or of the store. Keep the store as it is and report it.",
            0,
            "the accounts of the node's last checked hour are not what its raw readings say",
        ),
    )
    return tuple(rule for rule in every if rule.name not in config.disabled)


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)

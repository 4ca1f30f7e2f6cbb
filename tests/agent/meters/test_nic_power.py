"""Network cards: which there are, and what they draw."""

from pathlib import Path

from joulebook.agent.meters.model import ModelConfig, ModelMeter
from joulebook.agent.meters.nic_power import NIC_POWER, NetworkCard, find_cards
from joulebook.agent.source import Roots
from joulebook.agent.usage.cpu import CpuUsage
from joulebook.agent.usage.disks import DiskUsage
from joulebook.agent.usage.memory import MemoryUsage
from tests.fixtures.trees import build, roots_of, write

S = 1_000_000


def test_every_figure_has_its_source() -> None:
    """Each card says who publishes it, with the figures in its words."""
    for chip, power in NIC_POWER.items():
        vendor, _, device = chip.partition(":")
        assert (len(vendor), len(device)) == (4, 4)
        assert 0 < power.typical_mw < power.max_mw
        assert f"typically {power.typical_mw / 1000:g} W" in power.source
        assert f"at most {power.max_mw / 1000:g} W" in power.source


def test_a_card_s_functions_are_one_card(tmp_path: Path) -> None:
    """Two ports with an InfiniBand device and an interface each are one card; a virtual function is none."""
    assert find_cards(build("power9", tmp_path)) == [
        NetworkCard("0001:01:00", "15b3:1019", ("ib0", "ib1", "mlx5_0", "mlx5_1")),
        NetworkCard("0005:01:00", "14e4:1657", ("enP5p1s0f0", "enP5p1s0f1")),
    ]


def test_what_is_no_card_of_the_node_s_is_left_out(tmp_path: Path) -> None:
    """A hypervisor's cards, USB, interfaces without a device, and spoilt or missing ids."""
    roots = roots_of(tmp_path)
    devices = {
        "0000:00:03.0": ("0x1af4", "0x1000"),
        "1-2:1.0": ("0x15b3", "0x1017"),
        "0000:00:04.0": ("", "0x1017"),
        "0000:00:05.0": ("\xff" * 9, "0x1017"),
        "0000:00:06.0": ("0x15b3", "0x10171017"),
    }
    for number, (address, (vendor, device)) in enumerate(devices.items()):
        directory = roots.sysfs / "devices/pci0000:00" / address
        write(directory / "vendor", vendor)
        write(directory / "device", device)
        port = roots.sysfs / f"class/net/eth{number}"
        port.mkdir(parents=True)
        (port / "device").symlink_to(directory)
    (roots.sysfs / "class/net/lo").mkdir()
    assert find_cards(roots) == []
    assert find_cards(Roots(sysfs=tmp_path / "none")) == []


def _model(roots: Roots, config: ModelConfig | None = None) -> ModelMeter:
    cpu, memory, disks = CpuUsage(roots), MemoryUsage(roots), DiskUsage(roots)
    for source in (cpu, memory, disks):
        source.probe()
    return ModelMeter(roots, cpu, memory, disks, config=config)


def test_a_card_draws_what_its_maker_calls_typical(tmp_path: Path) -> None:
    """All of it idle floor, from 0, modelled with a wide ±; an unknown card is told of."""
    model = _model(build("power9", tmp_path))
    probe = model.probe()
    (card,) = [domain for domain in probe.domains if domain.name.startswith("nic.")]
    assert (card.name, card.idle_power_mw, card.limit_mw) == ("nic.0001:01:00", 12_950, 15_550)
    assert (card.source, card.accuracy_ppm) == ("model", 400_000)
    assert [finding.name for finding in probe.findings] == ["model", "model:nic.0005:01:00"]
    assert "14e4:1657" in probe.findings[1].reason
    assert list(model.read(0))[-2:] == [0, 0]
    assert list(model.read(10 * S))[-2:] == [129_500_000, 0]
    assert len(model.offsets_uj()) == len(probe.domains)


def test_cards_can_be_switched_off(tmp_path: Path) -> None:
    """With agent.model.network_cards = false no card is looked for, nor told of."""
    probe = _model(build("power9", tmp_path), ModelConfig(network_cards=False)).probe()
    names = [domain.name for domain in probe.domains] + [finding.name for finding in probe.findings]
    assert names == ["cpu.0", "cpu.8", "memory.0", "model"]
    assert ModelConfig().network_cards

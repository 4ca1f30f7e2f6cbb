"""Nodes as Slurm writes them, and read back by Slurm itself."""

import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.cli.hostlist import counted, hostlist


@pytest.mark.parametrize(
    ("names", "written"),
    [
        ([], ""),
        (["vm"], "vm"),
        (["n7"], "n7"),
        ([f"n{number}" for number in range(64)], "n[0-63]"),
        (["n1", "n2", "n5", "n10", "n9", "n1"], "n[1-2,5,9-10]"),
        (["gpu001", "gpu002", "gpu010"], "gpu[001-002,010]"),
        (["n1", "n01", "n02", "n10", "n2"], "n[1-2,01-02,10]"),
        (["rack1-3", "rack1-4", "rack2-5", "head"], "head,rack1-[3-4],rack2-5"),
        (["n8.site.edu", "n9.site.edu", "n8"], "n8,n[8-9].site.edu"),
        (["10.0.0.1", "10.0.0.2"], "10.0.0.1,10.0.0.2"),
        (["n1[", "n2,", "n3"], "n1[,n2,,n3"),
        (["n1a", "n2a"], "n[1-2]a"),
    ],
)
def test_names_are_ranges(names: list[str], written: str) -> None:
    """Numbers that follow each other are a range, wide as they are; what has none is itself."""
    assert hostlist(names) == written


def test_several_are_counted() -> None:
    """How many there are is told where it is more than one."""
    assert counted(["n1"]) == "n1"
    assert counted(["n1", "n2"]) == "n[1-2] (2)"


def expanded(written: str) -> set[str]:
    found: set[str] = set()
    for before, within, after in re.findall(r"([^,\[]*)(?:\[([^]]*)\])?([^,]*)(?:,|\Z)", written):
        if not within:
            found.add(before + after)
        for part in filter(None, within.split(",")):
            low, _, high = part.partition("-")
            numbers = range(int(low), int(high or low) + 1)
            found |= {f"{before}{number:0{len(low)}}{after}" for number in numbers}
    return found - {""}


@given(st.sets(st.from_regex(r"(n|gpu-1-|)[0-9]{1,3}(\.a\.edu|)|head", fullmatch=True)))
def test_no_name_is_lost_or_made_up(names: set[str]) -> None:
    """A list names what it was made of, and nothing else."""
    assert expanded(hostlist(names)) == names


def test_slurm_reads_it(tmp_path: Path) -> None:
    """Slurm's own scontrol makes of a list the names that it was made of."""
    if (scontrol := shutil.which("scontrol")) is None:
        pytest.skip("needs slurm-client")
    configuration = tmp_path / "slurm.conf"
    configuration.write_text("ClusterName=c\nSlurmctldHost=localhost\nNodeName=localhost\n")
    chosen = random.Random(7)
    kinds = ("n{}", "n{:03}", "gpu-2-{:02}", "head")
    names = {chosen.choice(kinds).format(chosen.randrange(120)) for _ in range(200)}
    shown = subprocess.run(
        [scontrol, "show", "hostnames", hostlist(names)],
        env={"SLURM_CONF": str(configuration)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(shown.stdout.split()) == names

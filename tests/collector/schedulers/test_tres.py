"""Slurm's words for what is allocated and asked for become counts and bytes."""

import pytest

from joulebook.collector.schedulers.tres import amounts, gpus_asked_for, gpus_in


@pytest.mark.parametrize(
    ("tres", "found"),
    [
        ("", {}),
        ("cpu=4,mem=100M,node=1,billing=4", {"cpu": 4, "mem": 100 << 20, "node": 1}),
        ("mem=1.50G,gres/gpu=2", {"mem": 3 << 29, "gres/gpu": 2}),
        ("gres/gpu:a100=2,gres/gpu:h100=1", {"gres/gpu": 3}),
        ("gres/gpu=3,gres/gpu:a100=2,gres/gpu:h100=1", {"gres/gpu": 3}),
        ("gres/gpu:a100=2,gres/gpu=2", {"gres/gpu": 2}),
        ("gres/gpumem=80G,gres/gpuutil=5,gres/shard=3,gres/mps=25", {}),
    ],
)
def test_what_is_allocated(tres: str, found: dict[str, int]) -> None:
    """GPUs of a type count where those of all types are not told; what is like a GPU is none."""
    assert amounts(tres) == found


@pytest.mark.parametrize("tres", ["cpu=many", "gres/gpu:a100=x", "mem=100X"])
def test_what_is_no_amount(tres: str) -> None:
    """An amount that is none is refused."""
    with pytest.raises(ValueError, match="expected an amount"):
        amounts(tres)


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("", 0),
        ("gpu", 1),
        ("gpu:2", 2),
        ("gres:gpu:2", 2),
        ("gres/gpu:2", 2),
        ("gres/gpu=2", 2),
        ("gres:gpu:a100", 1),
        ("gres:gpu:2080ti:3", 3),
        ("gres/gpu:a100=3", 3),
        ("gpu:a100:2(IDX:0,3)", 2),
        ("gres:gpu:a100:1,gres:gpu:h100:2,gres:shard:4", 3),
        ("gpu:8(IDX:0-2,4-8),shard:1(IDX:3)", 8),
        ("gpumem:80,shard:2,mps:50,nic:1", 0),
        ("gpu:a100:many", None),
    ],
)
def test_gpus_in_a_list(gres: str, gpus: int | None) -> None:
    """Every version's way to name GPUs is understood, with and without type, devices and count."""
    assert gpus_in((gres,)) == gpus


@pytest.mark.parametrize(
    ("job", "node", "rest", "nodes", "gpus"),
    [
        ("", "", (), 2, 0),
        ("gres:gpu:4", "gres:gpu:2", (), 2, 4),
        ("", "gres:gpu:2", (), 2, 4),
        ("", "gres:gpu:2", (), None, None),
        ("", "", ("", "gres:gpu:1"), 2, None),
        ("", "gpu:a:b", ("",), 2, None),
    ],
)
def test_gpus_asked_for(
    job: str, node: str, rest: tuple[str, ...], nodes: int | None, gpus: int | None
) -> None:
    """By job and by node the number follows; by socket and task it does not."""
    assert gpus_asked_for(job, node, rest, nodes) == gpus

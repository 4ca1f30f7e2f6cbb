"""What Slurm tells of parts of GPUs is a weight; what is shared is shared to the last part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.agent.workloads.slurm_shares import shared_ppm, weight_of


@pytest.mark.parametrize(
    ("environ", "weight"),
    [
        ({}, 0),
        ({"SLURM_SHARDS_ON_NODE": "3"}, 3),
        ({"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25"}, 25),
        ({"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "12.5"}, 0),
        ({"SLURM_SHARDS_ON_NODE": "-1"}, 0),
        ({"SLURM_SHARDS_ON_NODE": "9" * 64_000}, 0),
        ({"SLURM_SHARDS_ON_NODE": "\u0663"}, 0),
    ],
)
def test_what_a_task_is_told(environ: dict[str, str], weight: int) -> None:
    """A count is a weight, and nothing else is."""
    assert weight_of(environ) == weight


@given(st.lists(st.integers(1, 999_999), min_size=2, max_size=20))
def test_all_of_a_gpu_is_shared(weights: list[int]) -> None:
    """However many share it, their shares are all of it, each within a part of its own."""
    held = {str(number): ("gpu.0",) for number in range(len(weights))}
    found = shared_ppm(held, {str(number): weight for number, weight in enumerate(weights)})
    assert sum(shares["gpu.0"] for shares in found.values()) == 1_000_000
    for number, weight in enumerate(weights):
        assert abs(found[str(number)]["gpu.0"] - 1_000_000 * weight / sum(weights)) <= 1


def test_several_gpus() -> None:
    """What a job has of several GPUs is taken to be as much of each."""
    held = {"a": ("gpu.0", "gpu.1"), "b": ("gpu.0",)}
    assert shared_ppm(held, {"a": 4, "b": 2}) == {"a": {"gpu.0": 500_000}, "b": {"gpu.0": 500_000}}
    assert shared_ppm(held, {"a": 4}) == {}

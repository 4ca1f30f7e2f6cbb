"""What environments say of the GPUs that a program is given, and what of them is kept."""

import pytest

from joulebook.agent.workloads.visible import domains_held, parse_environ, shares_held
from tests.agent.workloads.test_gpuholders import NamedGpu
from tests.fixtures.nvml.standin import uuid_of

MIG_A, MIG_B, MIG_C = "MIG-aaaa", "MIG-bbbb", "MIG-cccc"
ROCR, HIP, CUDA = "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize(
    ("environ", "source", "held"),
    [
        ({}, "cgroup", None),
        ({"PATH": "/bin"}, "cgroup", None),
        ({"SLURM_JOB_GPUS": "3"}, "cgroup", ("gpu.0",)),
        ({"SLURM_JOB_GPUS": "2-3,9"}, "cgroup", ("gpu.1", "gpu.0")),
        ({"SLURM_JOB_GPUS": "", "SLURM_STEP_GPUS": "2"}, "cgroup", ("gpu.1",)),
        ({"SLURM_JOB_GPUS": "2,3", "SLURM_STEP_GPUS": "2"}, "cgroup", ("gpu.1", "gpu.0")),
        ({"SLURM_JOB_GPUS": "2", "CUDA_VISIBLE_DEVICES": "0"}, "cgroup", ("gpu.1",)),
        ({"SLURM_JOB_GPUS": "nonsense"}, "cgroup", ()),
        ({"CUDA_VISIBLE_DEVICES": "0, 1"}, "run", ("gpu.0", "gpu.1")),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,0"}, "run", ("gpu.1",)),
        ({"CUDA_VISIBLE_DEVICES": ""}, "run", ()),
        ({"CUDA_VISIBLE_DEVICES": ""}, "docker", ()),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, "run", ()),
        ({"CUDA_VISIBLE_DEVICES": uuid_of(1)}, "docker", ("gpu.1",)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-00000001"}, "run", ("gpu.1",)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-0000"}, "run", ()),
        ({"CUDA_VISIBLE_DEVICES": f"MIG-{uuid_of(1)}/3/0"}, "run", ("gpu.1",)),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "docker", ()),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "kubernetes", ()),
        ({"NVIDIA_VISIBLE_DEVICES": uuid_of(1), "CUDA_VISIBLE_DEVICES": "0"}, "kubernetes", ("gpu.1",)),
        ({"NVIDIA_VISIBLE_DEVICES": f"{uuid_of(1)},{uuid_of(0)}"}, "docker", ("gpu.1", "gpu.0")),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, "docker", None),
        ({"NVIDIA_VISIBLE_DEVICES": "1"}, "docker", None),
        ({"NVIDIA_VISIBLE_DEVICES": uuid_of(1)}, "run", None),
    ],
)
def test_what_environments_mean(environ: dict[str, str], source: str, held: tuple[str, ...] | None) -> None:
    """Slurm names device files, CUDA counts or names UUIDs; a container's count says nothing."""
    assert domains_held(environ, [NamedGpu(0, minor=3), NamedGpu(1, minor=2)], source) == held


@pytest.mark.parametrize(
    ("environ", "held", "shares"),
    [
        pytest.param({"CUDA_VISIBLE_DEVICES": MIG_A}, ("gpu.0",), {"gpu.0": 400_000}, id="one part"),
        pytest.param(
            {"CUDA_VISIBLE_DEVICES": f"{MIG_A},{MIG_B}"}, ("gpu.0",), {"gpu.0": 600_000}, id="two of one GPU"
        ),
        pytest.param(
            {"CUDA_VISIBLE_DEVICES": f"{MIG_B},{MIG_C}"},
            ("gpu.0", "gpu.1"),
            {"gpu.0": 200_000, "gpu.1": 1_000_000},
            id="of two GPUs",
        ),
        pytest.param(
            {"CUDA_VISIBLE_DEVICES": MIG_A, "SLURM_JOB_GPUS": "1"},
            ("gpu.0",),
            {"gpu.0": 400_000},
            id="Slurm counts the parts, not the GPUs",
        ),
        pytest.param({"CUDA_VISIBLE_DEVICES": "MIG-dddd"}, (), {}, id="a part that is not known"),
        pytest.param({"CUDA_VISIBLE_DEVICES": uuid_of(1)}, ("gpu.1",), {}, id="a GPU as a whole"),
    ],
)
def test_parts_of_divided_gpus_are_held(
    environ: dict[str, str], held: tuple[str, ...], shares: dict[str, int]
) -> None:
    """A MIG instance counts for its GPU with its slices, by whatever name it is given."""
    gpus = [
        NamedGpu(0, 0, parts={MIG_A: 400_000, MIG_B: 200_000}),
        NamedGpu(1, 1, parts={MIG_C: 1_000_000}),
    ]
    assert domains_held(environ, gpus, "docker") == held
    assert shares_held(environ, gpus) == shares


def test_cudas_count_needs_a_known_order() -> None:
    """Of GPUs of several models CUDA's first is the fastest, unless it is told to go by the bus."""
    gpus = [NamedGpu(0, 0, "T4"), NamedGpu(1, 1, "H200")]
    assert domains_held({"CUDA_VISIBLE_DEVICES": "0"}, gpus, "run") == ()
    by_bus = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert domains_held(by_bus, gpus, "run") == ("gpu.0",)


def test_nothing_else_of_an_environment_is_kept() -> None:
    """Whatever secrets an environment holds, only the names about GPUs leave the parser."""
    raw = b"TOKEN=s3cret\0CUDA_VISIBLE_DEVICES=0\0XSLURM_JOB_GPUS=1\0noise\0\xff=\xff\0"
    assert parse_environ(raw) == {"CUDA_VISIBLE_DEVICES": "0"}


@pytest.mark.parametrize(
    ("environ", "source", "held"),
    [
        ({}, "run", None),
        ({ROCR: "1"}, "run", ("gpu.1",)),
        ({ROCR: "2, 0"}, "run", ("gpu.2", "gpu.0")),
        ({ROCR: "0,7,1"}, "run", ("gpu.0",)),
        ({ROCR: ""}, "run", ()),
        ({ROCR: f"0,{uuid_of(2).upper()}"}, "run", ("gpu.0", "gpu.2")),
        ({ROCR: "1"}, "docker", ()),
        ({ROCR: uuid_of(1)}, "docker", ("gpu.1",)),
        ({HIP: "2"}, "run", ("gpu.2",)),
        ({HIP: "1,-1,0"}, "run", ("gpu.1",)),
        ({HIP: ""}, "run", None),
        ({HIP: "0"}, "docker", ()),
        ({CUDA: "2"}, "run", ("gpu.2",)),
        ({HIP: "1", CUDA: "2"}, "run", ("gpu.1",)),
        ({ROCR: "2,1", HIP: "1"}, "run", ("gpu.1",)),
        ({ROCR: "2,1", HIP: "2"}, "run", ()),
        ({ROCR: "2,1", CUDA: "0"}, "run", ("gpu.2",)),
        ({ROCR: f"{uuid_of(2)},{uuid_of(1)}", HIP: "0"}, "kubernetes", ("gpu.2",)),
        ({ROCR: "2", "SLURM_JOB_GPUS": "1"}, "slurm", ("gpu.1",)),
        # What is set and empty.
        ({ROCR: "", HIP: "0"}, "run", ()),
        ({ROCR: "", HIP: uuid_of(0)}, "run", ()),
        ({ROCR: "", HIP: uuid_of(0)}, "docker", ()),
        ({ROCR: ""}, "docker", ()),
        ({ROCR: "1", HIP: ""}, "run", ("gpu.1",)),
        ({HIP: "", CUDA: "2"}, "run", ("gpu.2",)),
        ({HIP: "2", CUDA: ""}, "run", ("gpu.2",)),
        ({CUDA: ""}, "run", None),
        ({HIP: "", CUDA: ""}, "docker", None),
        ({ROCR: "1", HIP: uuid_of(2)}, "run", ()),
        ({ROCR: "1,2", HIP: uuid_of(2)}, "run", ("gpu.2",)),
        ({ROCR: "0", HIP: uuid_of(2)}, "docker", ("gpu.2",)),
    ],
)
def test_what_environments_mean_to_amds_programs(
    environ: dict[str, str], source: str, held: tuple[str, ...] | None
) -> None:
    """The runtime leaves numbers or UUIDs, and HIP numbers of these; a container's count says nothing."""
    gpus = [NamedGpu(number, number, rocr_devices=1) for number in range(3)]
    assert domains_held(environ, gpus, source) == held


def test_amds_partitions_count_one_by_one() -> None:
    """A GPU that is divided counts as often as it has partitions; whoever holds one holds the GPU."""
    gpus = [NamedGpu(0, 0, rocr_devices=4), NamedGpu(1, 1, rocr_devices=1)]
    assert domains_held({ROCR: "3"}, gpus, "run") == ("gpu.0",)
    assert domains_held({ROCR: "2,3,4"}, gpus, "run") == ("gpu.0", "gpu.1")
    assert domains_held({ROCR: "4", HIP: "0"}, gpus, "run") == ("gpu.1",)


def test_amds_variables_say_nothing_of_nvidias_gpus() -> None:
    """Schedulers set the variables of all vendors at once."""
    gpus = [NamedGpu(0, 0), NamedGpu(1, 1)]
    assert domains_held({ROCR: "0", HIP: "0"}, gpus, "run") is None
    assert domains_held({ROCR: "0", CUDA: "1"}, gpus, "run") == ("gpu.1",)

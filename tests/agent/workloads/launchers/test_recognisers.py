"""Command lines and variables as launchers leave them, and the application that each tells."""

from typing import Any

import pytest

from joulebook.agent.workloads.launchers import dask, flux, marked, mpi, ray, spark, tensorflow, torchrun
from joulebook.agent.workloads.launchers.claim import Here, clean
from joulebook.agent.workloads.launchers.process import Process, parse_birth, parse_command, parse_told
from joulebook.agent.workloads.launchers.table import LAUNCHERS, Recogniser

HERE = Here("node1", "10.0.0.1", {77: 5}.get, own_network=4)  # type: ignore[arg-type]
SHELL = Process(7, 1, 0, ("bash",))
# As read from /proc of Ray, Dask 2026.8, Spark 3.5, Open MPI 4.1 and MPICH 4.0; the others as documented.
RAYLET = "/opt/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/s --gcs-address=10.0.0.9:6379"
LOCAL_RAYLET = (
    "/opt/ray/core/src/ray/raylet/raylet --session-name=session_2026-11-30_9_20 --gcs-address={}:41"
)
NANNY = "/usr/bin/python3 /usr/bin/dask worker tcp://10.0.0.9:8786 --nthreads 1 --name A"
EXECUTOR = (
    "/usr/lib/jvm/bin/java -cp /x org.apache.spark.executor.CoarseGrainedExecutorBackend --driver-url "
    "spark://CoarseGrainedScheduler@127.0.0.1:40001 --executor-id 0 --app-id app-20261130012913-0000"
)
SUBMIT = "/usr/lib/jvm/bin/java -cp /x org.apache.spark.deploy.SparkSubmit --conf spark.app.name=words"
HNP = "266272768.0;tcp://192.0.2.2,10.0.0.2:53741;tcp6://[fd00::2]:60693"
PROXY = "/usr/bin/hydra_pmi_proxy --control-port {} --rmk user --launcher ssh --proxy-id 0"
TF = '{{"cluster": {{"chief": ["{}:2222"], "worker": ["w:2222"]}}, "task": {{"type": "worker", "index": 0}}}}'


def process(command: str, parent: Process = SHELL, pid: int = 21, **told: Any) -> Process:
    return Process(pid, parent.pid, 9_000_001, command.split(), told, {parent.pid: parent}.get)


AGENT = process("/usr/bin/python3 /usr/bin/torchrun --nproc-per-node 2 train.py", pid=20)
FLUX_SHELL = process("/usr/libexec/flux/flux-shell 94371840", pid=20)
RANK: dict[str, Any] = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("recognise", "given", "job", "also"),
    [
        (marked.recognise, process("x", JOULEBOOK_JOB="nightly"), "marked.nightly", ()),
        (marked.recognise, process("x", JOULEBOOK_JOB=""), None, ()),
        (marked.recognise, process("JOULEBOOK_JOB=nightly"), None, ()),
        (flux.recognise, process("./solver", FLUX_SHELL, FLUX_JOB_ID="ƒD7j8aT"), "flux.fD7j8aT", (20,)),
        (flux.recognise, process("./solver", FLUX_SHELL, FLUX_JOB_ID="fD7j8aT"), "flux.fD7j8aT", (20,)),
        (flux.recognise, process("./solver", FLUX_JOB_ID="ƒD7j8aT"), None, ()),
        (flux.recognise, process("./solver", FLUX_SHELL, FLUX_JOB_ID="ƒD7j8aT/../1"), None, ()),
        (flux.recognise, process("./solver", FLUX_SHELL), None, ()),
        (
            torchrun.recognise,
            process("python train.py", AGENT, TORCHELASTIC_RUN_ID="77", MASTER_ADDR="gpu1", **RANK),
            "torchrun.77",
            (20,),
        ),
        (
            torchrun.recognise,
            process("python train.py", AGENT, TORCHELASTIC_RUN_ID="none", MASTER_ADDR="127.0.0.1", **RANK),
            "torchrun.node1.20.9",
            (20,),
        ),
        (torchrun.recognise, process("python t.py", MASTER_ADDR="gpu1", **RANK), "torchrun.gpu1:29500", ()),
        (
            torchrun.recognise,
            process("python t.py", MASTER_ADDR="localhost", **RANK),
            "torchrun.10.0.0.1:29500",
            (),
        ),
        (torchrun.recognise, process("python t.py", MASTER_ADDR="gpu1", MASTER_PORT="1"), None, ()),
        (tensorflow.recognise, process("python t.py", TF_CONFIG=TF.format("tf1")), "tensorflow.tf1:2222", ()),
        (tensorflow.recognise, process("python t.py", TF_CONFIG="{"), None, ()),
        (tensorflow.recognise, process("python t.py", TF_CONFIG='{"cluster": {"worker": []}}'), None, ()),
        (ray.recognise, process(RAYLET), "ray.10.0.0.9:6379", ()),
        (
            ray.recognise,
            process(LOCAL_RAYLET.format("192.0.2.2"), process("python driver.py", pid=20)),
            "ray.192.0.2.2:41",
            (20,),
        ),
        (
            ray.recognise,
            process("/opt/ray/core/src/ray/gcs/gcs_server --gcs_server_port=6379 --node-ip-address=10.0.0.9"),
            "ray.10.0.0.9:6379",
            (),
        ),
        (ray.recognise, process("/opt/ray/core/src/ray/gcs/gcs_server --gcs_server_port=0"), None, ()),
        (
            ray.recognise,
            process("python driver.py", RAY_ADDRESS="ray://10.0.0.9:6379"),
            "ray.10.0.0.9:6379",
            (),
        ),
        (ray.recognise, process("python driver.py", RAY_ADDRESS="auto"), None, ()),
        (ray.recognise, process("vim --gcs-address=10.0.0.9:6379"), None, ()),
        (dask.recognise, process(NANNY), "dask.10.0.0.9:8786", ()),
        (
            dask.recognise,
            process("python -c x --multiprocessing-fork", process(NANNY, pid=20), __DASK_PARENT_PID="20"),
            "dask.10.0.0.9:8786",
            (),
        ),
        (
            dask.recognise,
            process("python -c x", process("python client.py", pid=20), __DASK_PARENT_PID="20"),
            "dask.node1.20.9",
            (20,),
        ),
        (dask.recognise, process("python3 /usr/bin/dask scheduler"), "dask.10.0.0.1:8786", ()),
        (
            dask.recognise,
            process("python3 /usr/bin/dask scheduler --host 127.0.0.1 --port 18786"),
            "dask.10.0.0.1:18786",
            (),
        ),
        (
            dask.recognise,
            process("python3 -m distributed.cli.dask_worker --nthreads 1 10.0.0.9:8786"),
            "dask.10.0.0.9:8786",
            (),
        ),
        (
            dask.recognise,
            process("python client.py", DASK_SCHEDULER_ADDRESS="tls://10.0.0.9:8786"),
            "dask.10.0.0.9:8786",
            (),
        ),
        (
            dask.recognise,
            process("python3 /usr/bin/dask worker --scheduler-file /shared/s.json"),
            "dask.file-607ca110d149",
            (),
        ),
        (dask.recognise, process("python3 /usr/bin/dask --version"), None, ()),
        (spark.recognise, process(EXECUTOR), "spark.app-20261130012913-0000", ()),
        (
            spark.recognise,
            process(SUBMIT + " pyspark-shell", process("python x.py", pid=20)),
            "spark.node1.21.9",
            (20,),
        ),
        (spark.recognise, process(SUBMIT + " words.py"), "spark.node1.21.9", ()),
        (spark.recognise, process("/usr/bin/java -cp /x org.apache.spark.deploy.worker.Worker"), None, ()),
        (spark.recognise, process("vim org.apache.spark.deploy.SparkSubmit"), None, ()),
        (mpi.recognise, process("./solver", OMPI_MCA_orte_hnp_uri=HNP), "mpi.192.0.2.2:53741.4063", ()),
        (
            mpi.recognise,
            process("./solver", process("mpirun -np 2 ./solver", pid=20), OMPI_MCA_orte_hnp_uri=HNP),
            "mpi.192.0.2.2:53741.4063",
            (20,),
        ),
        (
            mpi.recognise,
            process(f'orted -mca ess "env" -mca orte_hnp_uri "{HNP}"'),
            "mpi.192.0.2.2:53741.4063",
            (),
        ),
        (mpi.recognise, process("./solver", PMIX_NAMESPACE="prterun-gpu1-71@1"), "mpi.prterun-gpu1-71", ()),
        (mpi.recognise, process(PROXY.format("gpu1:35695")), "mpi.gpu1:35695", ()),
        (mpi.recognise, process("./solver", PMIX_NAMESPACE="slurm.pmix.1.0"), None, ()),
    ],
)
def test_an_application_is_told(
    recognise: Recogniser, given: Process, job: str | None, also: tuple[int, ...]
) -> None:
    """Each process tells its application by what all of its nodes know of it, and who else belongs to it."""
    claim = recognise(given, HERE)
    assert (claim and claim.id) == job
    assert (claim.also if claim else ()) == also


def test_a_driver_of_sparks_is_known_by_its_executors() -> None:
    """Executors say where their driver is; a driver waits for that unless it has none."""
    executor = spark.recognise(process(EXECUTOR), HERE)
    assert executor is not None
    assert executor.driver_at == ("127.0.0.1", 40001)
    driver = spark.recognise(process(SUBMIT + " pyspark-shell"), HERE)
    local = spark.recognise(process(SUBMIT + " --conf spark.master=local[2] pyspark-shell"), HERE)
    assert driver is not None
    assert local is not None
    assert (driver.is_driver, driver.name, local.is_driver) == (True, "words", False)


def test_loopback_in_a_container_is_another_one() -> None:
    """Two clusters on loopback are two where they are in networks of their own."""
    inside = dask.recognise(process("python3 /usr/bin/dask scheduler", pid=77), HERE)
    assert inside is not None
    assert inside.id == "dask.node1.5:8786"


@pytest.mark.parametrize(
    "mark", ["a\nb", "x" * 65536, "ä", "slurm.1/../2", "a b", "\ud800", "-rf", "~", "a" * 101, "\0"]
)
def test_hostile_marks_stay_apart_and_harmless(mark: str) -> None:
    """Whatever a mark holds, its job has a short name of safe characters that no other mark has."""
    name = clean(mark)
    assert len(name) <= 100
    assert name.isascii()
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@~-")
    assert name != clean(mark + "x")
    claim = marked.recognise(process("x", JOULEBOOK_JOB=mark), HERE)
    assert claim is not None
    assert claim.name.isprintable()
    assert 0 < len(claim.name) <= 255
    assert clean(name) != name, "nobody can mark a process with what another one was given"


def test_every_launcher_takes_any_process() -> None:
    """What no launcher made is told by none, and nothing that processes show breaks one."""
    for recognise in LAUNCHERS.values():
        for each in (SHELL, Process(1), Process(5, 0, 0, ("", "", "")), process("-m"), process("x -m")):
            assert recognise(each, HERE) is None


def test_nothing_else_of_an_environment_is_taken() -> None:
    """Secrets beside the wanted variables, or that look like them, are not kept."""
    raw = (
        b"PYTHON_WORKER_FACTORY_SECRET=s3cret\0RANK=1\0XRANK=2\0RANKX=3\0A=JOULEBOOK_JOB=no\0"
        b"JOULEBOOK_JOB=yes\0RANK=9\0MASTER_ADDR\0"
    )
    assert parse_told(raw) == {"RANK": "1", "JOULEBOOK_JOB": "yes"}
    assert parse_told(b"") == {}
    assert parse_told(b"JOULEBOOK_JOB=\xff") == {"JOULEBOOK_JOB": "�"}


def test_stat_and_command_line_are_parsed() -> None:
    """Commands with spaces and parentheses are no trouble, and an empty command line is the kernel's own."""
    raw = b"21 (a) R (b) S 7 " + b" ".join(b"%d" % n for n in range(5, 53)) + b"\n"
    birth = parse_birth(raw)
    assert (birth.parent, birth.start_us) == (7, 220_000)
    assert birth.image.startswith(b"(a) R (b")
    assert parse_command(b"a\0b c\0\0") == ("a", "b c")
    assert parse_command(b"\0") == ()

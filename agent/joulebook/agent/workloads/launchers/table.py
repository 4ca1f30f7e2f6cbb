"""The launchers, each in a file of its own: the first that knows a process decides."""

from collections.abc import Callable
from typing import TypeAlias

from joulebook.agent.workloads.launchers import dask, flux, marked, mpi, ray, spark, tensorflow, torchrun
from joulebook.agent.workloads.launchers.claim import Claim, Here
from joulebook.agent.workloads.launchers.process import Process

Recogniser: TypeAlias = Callable[[Process, Here], Claim | None]

LAUNCHERS: dict[str, Recogniser] = {
    marked.SOURCE: marked.recognise,
    flux.SOURCE: flux.recognise,
    spark.SOURCE: spark.recognise,
    ray.SOURCE: ray.recognise,
    dask.SOURCE: dask.recognise,
    torchrun.SOURCE: torchrun.recognise,
    tensorflow.SOURCE: tensorflow.recognise,
    mpi.SOURCE: mpi.recognise,
}

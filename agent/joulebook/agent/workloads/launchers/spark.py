"""Spark's applications: executors by their command line, drivers by where their executors find them.

A master and a worker of a standalone cluster serve all applications and are none's.
"""

from joulebook.agent.workloads.launchers.claim import Claim, Here, clean, host_port, shown
from joulebook.agent.workloads.launchers.process import Process

SOURCE = "spark"
_EXECUTOR = "ExecutorBackend"
_DRIVERS = (
    "org.apache.spark.deploy.SparkSubmit",
    "org.apache.spark.deploy.worker.DriverWrapper",
    "org.apache.spark.deploy.yarn.ApplicationMaster",
)
# The last argument of a JVM that a Python driver started for itself.
_OF_PYTHON = "pyspark-shell"
_OF_R = "sparkr-shell"


def recognise(process: Process, here: Here) -> Claim | None:
    """Tell executors and drivers; their Python workers descend from them."""
    command = process.command
    if not command or command[0].rpartition("/")[2] != "java":
        return None
    if any(argument.startswith("org.apache.spark.") and argument.endswith(_EXECUTOR) for argument in command):
        application = process.option("--app-id")
        # spark://CoarseGrainedScheduler@HOST:PORT
        place = host_port(process.option("--driver-url").rpartition("@")[2])
        if not application:
            return None
        return Claim(
            f"spark.{clean(application)}", SOURCE, driver_at=(place[0], int(place[1])) if place else None
        )
    if not any(argument in _DRIVERS for argument in command):
        return None
    of_script = command[-1] in (_OF_PYTHON, _OF_R) and process.parent_pid > 1
    return Claim(
        f"spark.{here.only(process)}",
        SOURCE,
        shown(process.option("--name") or _conf(process, "spark.app.name")),
        also=(process.parent_pid,) if of_script else (),
        # With master local there is no executor to come.
        is_driver=not (process.option("--master") or _conf(process, "spark.master")).startswith("local"),
    )


def _conf(process: Process, name: str) -> str:
    given = (argument for argument in process.command if argument.startswith(f"{name}="))
    return next(given, "").partition("=")[2]

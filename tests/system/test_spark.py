"""A real PySpark application on a standalone cluster is one job, and the books balance."""

import os
import shutil
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pyspark

from tests.servers.programs import free_port
from tests.system.applications import Watch, check_books, started, tree, until_booked, until_logged
from tests.system.needs import need
from tests.system.site import Site

SPARK_HOME = str(Path(pyspark.__file__).parent)
# Short lives: what compiles well is not worth it.
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp", f"{SPARK_HOME}/jars/*"]
DRIVER = """
import sys, time
from pyspark.sql import SparkSession

def work(number):
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    return number

session = SparkSession.builder.master(sys.argv[1]).appName("two words").getOrCreate()
print("application", session.sparkContext.applicationId, flush=True)
for turn in range(100_000):
    session.sparkContext.parallelize(range(2), 1).map(work).collect()
    print("done", turn, flush=True)
"""
CONF = {
    "spark.ui.enabled": "false",
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def test_an_application_is_one_job(site: Site, tmp_path: Path) -> None:
    """Driver, its JVM, an executor and its Python workers: one account; master and worker are no job."""
    if shutil.which("java") is None:
        need("openjdk-17-jre-headless: deploy/install-packages")
    master_at = f"spark://127.0.0.1:{free_port()}"
    environ = os.environ | {
        "SPARK_HOME": SPARK_HOME,
        # As Spark's scripts find it out.
        "SPARK_SCALA_VERSION": "2.12",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": f"{tmp_path}/work",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": " ".join(
            [*(f'--conf "{name}={value}"' for name, value in CONF.items()), "pyspark-shell"]
        ),
    }
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    site.until(lambda ledger: ledger["measured_uj"] > 0)
    site.counter.start()
    with closing(Watch()) as watch, ExitStack() as running:
        log = tmp_path / "master.log"
        place = ["--host", "127.0.0.1", "--webui-port", "0"]
        main = "org.apache.spark.deploy.{}"
        port = master_at.rpartition(":")[2]
        command = [*JAVA, main.format("master.Master"), *place, "--port", port]
        master = running.enter_context(started(command, log, environ))
        until_logged(master, log, "New state: ALIVE")
        log = tmp_path / "worker.log"
        command = [*JAVA, main.format("worker.Worker"), *place, "--cores", "1", "--memory", "1g", master_at]
        worker = running.enter_context(started(command, log, environ))
        until_logged(worker, log, "Successfully registered")
        log = tmp_path / "driver.log"
        driver = running.enter_context(started([sys.executable, str(script), master_at], log, environ))
        said = until_logged(driver, log, "done 0")
        application = said.partition("application ")[2].split()[0]
        executors = tree([worker.pid]) - {worker.pid}
        assert executors, "an executor is the worker's child"
        pids = [driver.pid, *executors]
        assert watch.until_one("spark", pids) == f"spark.{application}"
        assert not watch.job_of(master.pid)
        assert not watch.job_of(worker.pid)
        watch.check_use(f"spark.{application}", [driver.pid, *executors], 1.0)
        told = until_booked(site, f"spark.{application}", 5_000_000)
        assert told["name"] == "two words"
        assert {"two", "words", "running", "here"} < set(site.line_of(f"spark.{application}"))
    check_books(site, f"spark.{application}", "spark")

"""`make pure-v2 [TESTS="..."]`: tests on a kernel with cgroup v2 alone, with systemd, in User Mode Linux."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.simulated.machine import build_tree, lacking

_HERE, _CHECKOUT = Path(__file__).parent, Path(__file__).parents[3]
_PLACE = _CHECKOUT / "build" / "pure-v2"
_PACKAGES = (
    *("iproute2", "procps", "munge", "stress-ng"),
    *("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins"),
)
# What a host may do by v1, by v2 or by both is done by v2 there, with all of its controllers.
_TESTS = ("tests/system/test_slurm.py", "tests/agent/workloads")
_LONGEST_S = 3000


def main() -> int:
    """Boot, run tests inside, print what they said; return 0 where they passed."""
    parser = argparse.ArgumentParser(prog="make pure-v2")
    parser.add_argument("tests", nargs="*", default=_TESTS)
    asked = parser.parse_args().tests
    if what := lacking() or ("" if shutil.which("linux.uml") else "user-mode-linux"):
        print(f"needs {what}: deploy/install-packages", file=sys.stderr)
        return 2
    tree = _PLACE / "tree"
    _prepare(tree, asked)
    _boot(tree)
    log, status = tree / "srv/tests.log", tree / "srv/status"
    print(log.read_text(errors="replace") if log.exists() else f"no test began: {_PLACE}/console.log")
    return int(status.read_text()) if status.exists() else 1


def _prepare(tree: Path, tests: list[str]) -> None:
    """Make the machine, if there is none yet, and tell it what to do."""
    if not (tree / "srv/ready").exists():
        shutil.rmtree(_PLACE, ignore_errors=True)
        _PLACE.mkdir(parents=True)
        build_tree(tree, *_PACKAGES)
        for service in ("munge", "slurmctld", "slurmd"):
            (tree / f"etc/systemd/system/{service}.service").symlink_to("/dev/null")
        (tree / "etc/hostname").write_text("pure-v2\n")
        (tree / "etc/hosts").write_text("127.0.0.1 localhost pure-v2\n")
        (tree / "srv/ready").touch()
    for old in ("tests.log", "status"):
        (tree / "srv" / old).unlink(missing_ok=True)
    told = {"CHECKOUT": str(_CHECKOUT), "PREFIX": sys.base_prefix, "TESTS": shlex.join(tests)}
    (tree / "srv/asked").write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in told.items()))
    shutil.copy(_HERE / "run.sh", tree / "srv/run.sh")
    unit = tree / "etc/systemd/system/tests.service"
    shutil.copy(_HERE / "tests.service", unit)
    wanted = tree / "etc/systemd/system/multi-user.target.wants/tests.service"
    wanted.parent.mkdir(exist_ok=True)
    if not wanted.is_symlink():
        wanted.symlink_to("../tests.service")


def _boot(tree: Path) -> None:
    """Run the machine until it powers off."""
    kernel = ["linux.uml", "mem=2048M", "root=/dev/root", "rootfstype=hostfs", f"rootflags={tree}", "rw"]
    console = [
        "init=/lib/systemd/systemd",
        "con=null",
        "con0=fd:0,fd:1",
        "systemd.unified_cgroup_hierarchy=1",
    ]
    registers = _PLACE / "xstate.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", registers, _HERE / "xstate.c"], check=True)
    with (_PLACE / "console.log").open("wb") as lines:
        subprocess.run(
            ["timeout", "--signal=KILL", str(_LONGEST_S), *kernel, *console],
            # Its memory is a file there.
            env=os.environ | {"TMPDIR": "/dev/shm", "LD_PRELOAD": str(registers)},
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=lines,
            check=False,
        )


if __name__ == "__main__":
    sys.exit(main())

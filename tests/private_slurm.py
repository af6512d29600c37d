"""A Slurm cluster of our own on the loopback address: one node with several slots, for tests.

As root, with the daemons of Debian's packages slurmctld, slurmd and munge; nothing of the machine's own configuration
is read or written. Everything lives in one temporary folder, and all daemons are ended by their process ids.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

MISSING = "no Slurm daemons found (apt-get install slurmctld slurmd slurm-client munge), or not run as root"
WAIT_S = 60.0
CONFIG = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=3
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
MinJobAge=60
KillWait=20
SchedulerParameters=sched_interval=1,batch_sched_delay=0
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={slots} RealMemory=2000
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=closed Nodes={host} State=DOWN
"""


def can_start() -> bool:
    """Whether the daemons are installed and may be started."""
    return os.geteuid() == 0 and all(map(shutil.which, ("slurmctld", "slurmd", "munged", "sbatch")))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class PrivateSlurm:
    """One cluster; `environment` makes its commands find it."""

    def __init__(self, slots: int = 4) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nas-slurm-"))
        self.folder.chmod(0o755)
        self._started: list[psutil.Process] = []
        host = socket.gethostname().split(".")[0]
        config = self.folder / "slurm.conf"
        ports = (_free_port(), _free_port())
        config.write_text(CONFIG.format(host=host, folder=self.folder, slots=slots, ports=ports))
        self.environment = {"SLURM_CONF": str(config)}
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        try:
            self._munge()
            self._daemon("slurmctld", "-D", "-f", str(config))
            self._daemon("slurmd", "-D", "-f", str(config), "-N", host)
            self._wait_for_node()
        except BaseException:
            self.close()
            raise

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        files = {"key-file": key, "socket": self.folder / "munge.socket", "pid-file": self.folder / "munge.pid"}
        files |= {"log-file": self.folder / "munge.log", "seed-file": self.folder / "munge.seed"}
        self._daemon("munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items()))
        self._until(lambda: files["socket"].exists(), "munged made no socket")

    def _daemon(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as log:
            process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        self._started.append(psutil.Process(process.pid))

    def _wait_for_node(self) -> None:
        self._until(lambda: self.ask("sinfo", "--noheader", "--format=%T").startswith("idle"), "the node is not idle")

    def _until(self, holds: object, words: str) -> None:
        until = time.monotonic() + WAIT_S
        while not holds():  # type: ignore[operator]
            if time.monotonic() > until:
                said = "\n".join(f"--- {p.name}\n{p.read_text()[-2000:]}" for p in self.folder.glob("*.[lo][ou][gt]"))
                raise RuntimeError(f"{words}\n{said}")
            time.sleep(0.1)

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment).stdout

    def jobs(self, state: str = "RUNNING") -> list[str]:
        """Ids of the jobs in a state."""
        return self.ask("squeue", "--noheader", "--array", f"--states={state}", "--format=%i").split()

    def close(self) -> None:
        """Cancels what runs, ends the daemons and removes all they wrote."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            self.ask("scancel", "--user=root", "--quiet")
        children = [
            child for daemon in self._started if daemon.is_running() for child in daemon.children(recursive=True)
        ]
        for process in [*reversed(self._started), *children]:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs([*self._started, *children], timeout=10)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

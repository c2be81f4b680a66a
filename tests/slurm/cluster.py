"""A real Slurm on one machine, to be thrown away: controller, accounting, two nodes with two stand-ins for GPUs each.

    python tests/slurm/cluster.py install     # Debian's packages, as root; exit status 1 and the reason where that fails
    python tests/slurm/cluster.py up FOLDER   # prints what to evaluate in a shell that is to see the cluster
    python tests/slurm/cluster.py down FOLDER

No systemd; all of it lives in one folder and listens on the address of the host's name. The nodes `n1` and
`n2` are in all partitions: `cpu` (the default) and `gpu`; `requeued` and `cancelled`, whose jobs one of `urgent`
preempts, as their names say. A node whose file `faulty-n1` exists launches no job. Without cgroups memory is watched
by polling, so that a job over its memory is killed within seconds and not at once.
"""

import contextlib
import getpass
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

PACKAGES = "munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins slurmdbd mariadb-server"
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "mariadb-install-db", "mariadb", "sacctmgr")
CLIENTS = ("srun", "sbatch", "sacct", "squeue", "scancel", "scontrol", "sinfo", "sacctmgr")
NODES = ("n1", "n2")
GPUS = 2
ACCOUNT = "lab"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

CONFIGURATION = """ClusterName=small
SlurmctldHost={host}({address})
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SrunPortRange={srun_first}-{srun_last}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/{tracking}
TaskPlugin=task/{tasks}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
{polling}
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=2
PropagateResourceLimits=NONE
EnforcePartLimits=ALL
JobRequeue=1
Prolog={folder}/bin/prolog
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
UnkillableStepTimeout=20
SlurmdTimeout=60
MinJobAge=300
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={address}
AccountingStoragePort={accounting_port}
AccountingStoragePass={folder}/run/munge.socket
AccountingStorageTRES=gres/gpu,gres/gpu:h100
AccountingStoreFlags=job_comment
NodeName=n1 NodeHostname={host} NodeAddr={address} Port={n1_port} CPUs=4 RealMemory=12000 Gres=gpu:h100:{gpus} Feature=h100
NodeName=n2 NodeHostname={host} NodeAddr={address} Port={n2_port} CPUs=4 RealMemory=12000 Gres=gpu:h100:{gpus} Feature=h100
PartitionName=cpu Nodes=n1,n2 Default=YES DefMemPerCPU=500 DefaultTime=10 MaxTime=1440 State=UP
PartitionName=gpu Nodes=n1,n2 DefMemPerCPU=500 DefaultTime=10 MaxTime=720 State=UP
PartitionName=requeued Nodes=n1,n2 DefMemPerCPU=500 DefaultTime=10 State=UP PreemptMode=REQUEUE
PartitionName=cancelled Nodes=n1,n2 DefMemPerCPU=500 DefaultTime=10 State=UP PreemptMode=CANCEL
PartitionName=urgent Nodes=n1,n2 DefMemPerCPU=500 DefaultTime=10 State=UP PriorityTier=10
"""
CGROUPS = """CgroupPlugin=cgroup/v1
ConstrainCores=yes
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
ConstrainDevices=yes
"""
ACCOUNTING = """AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
DbdHost={host}
DbdAddr={address}
DbdPort={accounting_port}
CommunicationParameters=NoInAddrAny
SlurmUser={user}
PidFile={folder}/run/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
"""


def lacking() -> str:
    """Why no cluster can be started here; empty if one can."""
    missing = [name for name in DAEMONS if not shutil.which(name, path=PATH)]
    return f"Slurm's daemons are not installed ({', '.join(missing)}): apt-get install {PACKAGES}" if missing else ""


def install() -> str:
    """Install what is lacking, where Debian's packages can be had and this is root. Returns why not, or nothing."""
    reason = lacking()
    if not reason or os.geteuid() != 0 or not shutil.which("apt-get"):
        return reason
    policy = Path("/usr/sbin/policy-rc.d")  # keeps the packages from starting daemons of their own
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        for command in ("apt-get update", f"apt-get install -y --no-install-recommends {PACKAGES}"):
            done = subprocess.run(
                command.split(),
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            )
            if done.returncode:
                return f"{command.split()[1]} failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}"
    finally:
        if ours:
            policy.unlink()
    return lacking()


class Cluster:
    """The daemons under `folder`. Each is known by its process number, and only those are ever stopped."""

    def __init__(self, folder: Path, port: int = 17820, *, cgroups: bool = False) -> None:
        """`port` is the first of some that must be free; `cgroups`: the kernel bounds memory and cards, as most sites do."""
        self.folder = folder.resolve()
        self.cgroups = cgroups
        self.password = secrets.token_hex(12)
        host = socket.gethostname().split(".")[0]
        self.values = {
            "folder": self.folder,
            "host": host,
            "address": socket.gethostbyname(host),
            "user": getpass.getuser(),
            "port": port,
            "accounting_port": port + 1,
            "database_port": port + 2,
            "n1_port": port + 3,
            "n2_port": port + 4,
            "srun_first": port + 20,
            "srun_last": port + 400,
            "gpus": GPUS,
            "tracking": "cgroup" if cgroups else "linuxproc",
            "tasks": "cgroup" if cgroups else "none",
            "polling": "" if cgroups else "JobAcctGatherParams=OverMemoryKill",
            "password": self.password,
        }
        self.processes: dict[str, psutil.Process] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What a client sets to see this cluster and no other."""
        return {"SLURM_CONF": f"{self.folder}/etc/slurm.conf", "PATH": f"{self.folder}/bin:{PATH}"}

    def ask(self, command: str, *, fails: bool = False) -> str:
        """What a client prints."""
        done = subprocess.run(
            shlex.split(command), env=os.environ | self.environment, capture_output=True, text=True, timeout=300
        )
        if done.returncode and not fails:
            raise RuntimeError(f"{command}: {done.stderr}{done.stdout}")
        return done.stdout

    def up(self) -> None:
        """Start all of it and wait until both nodes are idle."""
        for name in ("bin", "etc", "run", "log", "state", "spool/n1", "spool/n2", "dev/n1", "dev/n2"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._configure()
        self._start_munge()
        self._start_accounting()
        self.start_controller()
        for node in NODES:
            self.start_node(node)

    def down(self) -> None:
        """Cancel all jobs and stop all daemons, the last that was started first."""
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            self.ask(f"scancel --user={self.values['user']}")
            self.wait("all jobs gone", lambda: not self.ask("squeue -h").strip(), 20)
        for name in reversed(list(self.processes)):
            self._stop(name)
        left = Path("/sys/fs/cgroup").glob("*/slurm_n*/**/") if self.cgroups else []
        for group in sorted(left, reverse=True):
            with contextlib.suppress(OSError):  # one that is in use is not ours
                group.rmdir()

    def start_controller(self) -> None:
        """Start the controller, which goes on from its saved state."""
        self._daemon("slurmctld", f"slurmctld -f {self.folder}/etc/slurm.conf")
        self.wait("slurmctld", lambda: "UP" in self.ask("scontrol ping", fails=True))

    def stop_controller(self) -> None:
        """Stop it, as an administrator does to change its configuration."""
        self._stop("slurmctld")

    def start_node(self, node: str) -> None:
        """Start a node, and wait until it is idle."""
        self._daemon(f"slurmd-{node}", f"slurmd -N {node} -f {self.folder}/etc/slurm.conf")
        self.wait(f"{node} idle", lambda: set(self.ask(f"sinfo -h -N -n {node} -o %T").split()) == {"idle"})

    def kill_node(self, node: str) -> None:
        """Let a node die: its daemon, its jobs with all their processes. The controller is told, which spares a minute."""
        jobs = self.ask(f"squeue -h -t R -w {node} -o %i").split()
        for process in psutil.process_iter(["cmdline"]):
            if re.match(rf"slurmstepd: \[({'|'.join(jobs)})\.", " ".join(process.info["cmdline"] or [])):
                for one in [process, *process.children(recursive=True)]:
                    one.kill()
        self.processes.pop(f"slurmd-{node}").kill()
        self.ask(f"scontrol update nodename={node} state=down reason=test")

    def wait(self, what: str, done: Callable[[], object], seconds: float = 300) -> None:
        """Wait until `done()`; raises TimeoutError that names what never came."""
        last = time.monotonic() + seconds
        while time.monotonic() < last:
            with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
                if done():
                    return
            time.sleep(0.2)
        raise TimeoutError(f"{what}: not within {seconds:.0f} s; the logs lie in {self.folder}/log")

    def _configure(self) -> None:
        etc = self.folder / "etc"
        (etc / "slurm.conf").write_text(CONFIGURATION.format(**self.values))
        lines = []
        for node in NODES:
            devices = [self.folder / f"dev/{node}/nvidia{number}" for number in range(GPUS)]
            # they stand for cards, with numbers that no driver has; Slurm numbers only devices, as root may make
            for number, device in enumerate(devices):
                if os.geteuid() == 0 and not device.exists():
                    os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(240 + NODES.index(node), number))
                device.touch()
            lines += [f"NodeName={node} Name=gpu Type=h100 File={device}" for device in devices]
        (etc / "gres.conf").write_text("\n".join(lines) + "\n")
        (etc / "cgroup.conf").write_text(CGROUPS)
        self._private(etc / "slurmdbd.conf", ACCOUNTING.format(**self.values).encode())
        self._private(etc / "munge.key", secrets.token_bytes(1024))
        for name in CLIENTS:  # the plugin drops SLURM_CONF before it calls srun
            self._script(name, f'SLURM_CONF={etc}/slurm.conf exec {shutil.which(name, path=PATH)} "$@"')
        self._script("prolog", f"[ ! -e {self.folder}/faulty-$SLURMD_NODENAME ]")

    def _script(self, name: str, body: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    @staticmethod
    def _private(path: Path, content: bytes) -> None:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)

    def _start_munge(self) -> None:
        run = self.folder / "run"
        self._daemon(
            "munged",
            f"munged --force --key-file={self.folder}/etc/munge.key --socket={run}/munge.socket "
            f"--pid-file={run}/munged.pid --log-file={self.folder}/log/munged.log --seed-file={run}/munge.seed",
        )
        self.wait("munged", lambda: self.ask(f"munge -n -S {run}/munge.socket"))

    def _start_accounting(self) -> None:
        data, run, user = self.folder / "mysql", self.folder / "run", self.values["user"]
        if not (data / "mysql").exists():
            self._run(
                f"mariadb-install-db --no-defaults --user={user} --datadir={data} "
                "--auth-root-authentication-method=normal --skip-test-db"
            )
        with (self.folder / "log/mariadbd.log").open("w") as log:
            process = psutil.Popen(
                shlex.split(
                    f"mariadbd --no-defaults --user={user} --datadir={data} --socket={run}/mysql.socket "
                    f"--pid-file={run}/mariadbd.pid --bind-address=127.0.0.1 --port={self.values['database_port']} "
                    "--innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 "
                    "--skip-log-bin --skip-name-resolve"
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"PATH": PATH},
            )
        self.processes["mariadbd"] = process
        sql = f"mariadb --no-defaults --protocol=socket --socket={run}/mysql.socket -u root -e "
        self.wait("mariadbd", lambda: self.ask(sql + "'SELECT 1'"))
        self.ask(
            sql + f'"CREATE DATABASE IF NOT EXISTS slurm_acct_db; CREATE OR REPLACE USER slurm@127.0.0.1 IDENTIFIED BY '
            f"'{self.password}'; GRANT ALL ON slurm_acct_db.* TO slurm@127.0.0.1;\""
        )
        self._daemon("slurmdbd", "slurmdbd")
        self.wait("slurmdbd", lambda: self.ask("sacctmgr -n list cluster") is not None)
        self.ask("sacctmgr -i add cluster small", fails=True)
        self.ask(f"sacctmgr -i add account {ACCOUNT} cluster=small Description=lab Organization=lab", fails=True)
        self.ask(f"sacctmgr -i add user {user} account={ACCOUNT} cluster=small", fails=True)
        self.ask(f"sacctmgr -i modify user {user} set defaultaccount={ACCOUNT}", fails=True)

    def _run(self, command: str) -> None:
        with (self.folder / "log/start.log").open("a") as log:
            subprocess.run(
                shlex.split(command),
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
            )

    def _daemon(self, name: str, command: str) -> None:
        """Start one that puts itself into the background and writes down its number."""
        number = self.folder / f"run/{name}.pid"
        number.unlink(missing_ok=True)
        self._run(command)
        self.wait(name, lambda: number.is_file() and number.read_text().strip().isdigit())
        self.processes[name] = psutil.Process(int(number.read_text()))

    def _stop(self, name: str) -> None:
        process = self.processes.pop(name)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(20)
                return
            process.kill()


@contextlib.contextmanager
def running(folder: Path, *, cgroups: bool = False) -> Iterator[Cluster]:
    """A cluster for as long as it is needed."""
    cluster = Cluster(folder, cgroups=cgroups)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()


def main(command: str, *folder: str) -> str | None:
    """The command line; returns what is wrong."""
    if command == "install":
        return install() or None
    cluster = Cluster(Path(*folder))
    if command == "up":
        cluster.up()
        print(*(f"export {name}={shlex.quote(value)}" for name, value in cluster.environment.items()), sep="\n")
        return None
    names = [path.stem for path in sorted((cluster.folder / "run").glob("*.pid"), key=lambda p: p.stat().st_mtime)]
    for name in names:
        with contextlib.suppress(psutil.NoSuchProcess, ValueError):
            process = psutil.Process(int((cluster.folder / f"run/{name}.pid").read_text()))
            if any(str(cluster.folder) in part for part in process.cmdline()) or name == "slurmdbd":
                cluster.processes[name] = process
    cluster.down()
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

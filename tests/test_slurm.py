"""Jobs of launch/slurm.sbatch, on a real SLURM of two virtual nodes."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import jobs
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.multi]

DAEMONS = ("munged", "slurmctld", "slurmd")
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin"


class Slurm:
    """Two nodes, n1 and n2, and partitions: `low` is the default one, `high` preempts it."""

    def __init__(self, folder: Path) -> None:
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}

    def __call__(self, *words: object, **environment: str) -> str:
        """Run a command of SLURM's."""
        return jobs.check_call(*words, **self.environment, **environment)

    def submit(self, folder: Path, *arguments: object) -> str:
        """Submit launch/slurm.sbatch, a task on each node, its logs and run in `folder`; return the job's number."""
        options = ("--parsable", "--nodes=2", f"--output={folder / 'batch.out'}")
        run = f"run={folder / 'run'}"
        return self("sbatch", *options, "launch/slurm.sbatch", *arguments, run, LOGS=str(folder)).strip()

    def facts(self, job: str) -> dict[str, str]:
        """What SLURM knows about a job."""
        return dict(re.findall(r"(\w+)=(\S*)", self("scontrol", "show", "job", "--oneliner", job)))

    def finished(self, job: str) -> dict[str, str]:
        """Wait for a job's end, and start it whenever it is put back: SLURM would hold it for 120 s."""

        def ended() -> dict[str, str] | None:
            facts = self.facts(job)
            if facts["JobState"] == "PENDING" and facts["Reason"] == "BeginTime":
                time.sleep(2)  # within the second of its requeue it would find its credential revoked
                self("scontrol", "update", f"JobId={job}", "StartTime=now")
            return facts if facts["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL") else None

        return jobs.wait_for("the end of the job", ended, seconds=180, pause=0.5)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if missing := [name for name in ("sbatch", *DAEMONS) if shutil.which(name, path=SBIN) is None]:
        pytest.skip(f"no SLURM here: {', '.join(missing)} absent; apt-get install slurm-wlm munge")
    folder = tmp_path_factory.mktemp("slurm")
    lab = jobs.REPOSITORY / "tests" / "slurm_lab.sh"
    try:
        # Not through a pipe, which the daemons would hold open.
        with (folder / "up.log").open("w") as log:
            up = subprocess.run([lab, "up", folder, str(jobs.free_ports(3))], stdout=log, stderr=log, timeout=60)
        assert up.returncode == 0, (folder / "up.log").read_text()
        yield Slurm(folder)
    finally:
        subprocess.run([lab, "down", folder], check=True, timeout=60)


def logs(folder: Path, job: str) -> list[str]:
    """What each task of a job said."""
    return [(folder / f"ganlab-{job}-{task}.log").read_text() for task in range(2)]


def training(slurm: Slurm, folder: Path, job: str) -> None:
    """Wait until a job's run is under way."""
    jobs.wait_for(
        "the first metrics",
        lambda: jobs.images_seen(folder / "run") or slurm.facts(job)["JobState"] in ("FAILED", "COMPLETED"),
    )
    assert slurm.facts(job)["JobState"] == "RUNNING", "".join(logs(folder, job))


def test_a_job_on_two_nodes_equals_a_local_one(slurm: Slurm, job: Path, undisturbed: Path, tmp_path: Path) -> None:
    number = slurm.submit(tmp_path, job, "machine.nodes=2", "machine.processes_per_node=1")
    facts = slurm.finished(number)
    assert (facts["JobState"], facts["ExitCode"]) == ("COMPLETED", "0:0"), logs(tmp_path, number)
    assert (facts["NumNodes"], facts["NumTasks"], facts["Restarts"]) == ("2", "2", "0")
    first, second = logs(tmp_path, number)
    assert f"done: {jobs.IMAGES:,} images" in first
    assert second == ""
    jobs.assert_same_end(tmp_path / "run", undisturbed)


def disturbed(slurm: Slurm, number: str, folder: Path, undisturbed: Path) -> None:
    """A job that was stopped once must have saved itself at once, gone on from there, and ended as if undisturbed."""
    facts = slurm.finished(number)
    first = logs(folder, number)[0]
    assert (facts["JobState"], facts["ExitCode"], facts["Restarts"]) == ("COMPLETED", "0:0", "1"), first
    stopped = re.findall(r"stopped at ([\d,]+) images, checkpoint saved", first)
    resumed = re.findall(r"resuming from nimg-(\d+)\.ckpt", first)
    assert len(stopped) == len(resumed) == 1, first
    assert int(stopped[0].replace(",", "")) == int(resumed[0]) < jobs.IMAGES
    jobs.assert_same_end(folder / "run", undisturbed)


def test_usr1_saves_and_requeues(slurm: Slurm, job: Path, undisturbed: Path, tmp_path: Path) -> None:
    number = slurm.submit(tmp_path, job)
    training(slurm, tmp_path, number)
    slurm("scancel", "--signal=USR1", number)
    disturbed(slurm, number, tmp_path, undisturbed)


def test_a_job_of_higher_priority_only_delays(slurm: Slurm, job: Path, undisturbed: Path, tmp_path: Path) -> None:
    number = slurm.submit(tmp_path, job)
    training(slurm, tmp_path, number)
    slurm("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true")
    disturbed(slurm, number, tmp_path, undisturbed)


def test_another_number_of_tasks_than_the_machine_file_states_is_one_error(
    slurm: Slurm, job: Path, tmp_path: Path
) -> None:
    (tmp_path / "machine.yaml").write_text("machine: {nodes: 2, processes_per_node: 4}\n")
    number = slurm.submit(tmp_path, job, "--machine", tmp_path / "machine.yaml")
    facts = slurm.finished(number)
    assert (facts["JobState"], facts["ExitCode"]) == ("FAILED", "2:0")
    for said in logs(tmp_path, number):
        assert said.startswith("ganlab: machine.processes_per_node: 4, but srun started 2 processes, 1 on each")
        assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()

"""Who a process is, jobs of torchrun, and what becomes of a job when one of its processes goes missing."""

import json
import os
import signal
import socket
from pathlib import Path

import jobs
import pytest
import tiny_runs as runs

from ganlab import distributed
from ganlab.callbacks.heartbeat import Beat, Watch
from ganlab.experiment.frame import Machine
from ganlab.experiment.launch import Launch, join, read_launch
from ganlab.types import UserError

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "1"}
BATCH = {  # what a batch script sees of an allocation of 2 x 4 tasks
    "SLURM_JOB_ID": "123456",
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
STEP = {  # and what srun adds
    **BATCH,
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}
INTERACTIVE = {**BATCH, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of this test's own, without a launcher."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "MASTER"))}
    monkeypatch.setattr(os, "environ", mine)
    return mine


@pytest.mark.parametrize(
    ("variables", "launch"),
    [
        ({}, Launch("python", 0, 1, 0, 1, 0)),
        (TORCHRUN, Launch("torchrun", 5, 8, 1, 4, 1)),
        (STEP, Launch("srun", 5, 8, 1, 4, 1)),
        (BATCH, Launch("python", 0, 1, 0, 1, 0)),
        (INTERACTIVE, Launch("python", 0, 1, 0, 1, 0)),
        ({**STEP, **TORCHRUN, "RANK": "6"}, Launch("torchrun", 6, 8, 1, 4, 1)),  # srun torchrun
        ({**INTERACTIVE, **TORCHRUN}, Launch("torchrun", 5, 8, 1, 4, 1)),
        ({**STEP, "WORLD_SIZE": "8"}, Launch("srun", 5, 8, 1, 4, 1)),  # which batch scripts like to export
    ],
)
def test_the_launcher_says_who_a_process_is(variables: dict[str, str], launch: Launch) -> None:
    assert read_launch(variables) == launch
    assert launch.nodes * launch.processes_per_node == launch.world_size


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "RANK=0, WORLD_SIZE=2 without LOCAL_RANK, LOCAL_WORLD_SIZE"),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "3"}, "LOCAL_WORLD_SIZE: 3 of 8 processes"),
        ({**STEP, "SLURM_STEP_TASKS_PER_NODE": "3,1(x5)"}, r"SLURM_STEP_TASKS_PER_NODE: 3,1\(x5\): every node"),
    ],
)
def test_half_a_launch_is_refused(variables: dict[str, str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        read_launch(variables)


def test_a_slurm_step_is_told_to_torch(environment: dict[str, str]) -> None:
    environment.update(STEP)
    join(Machine(nodes=2, processes_per_node=4))
    assert {name: environment[name] for name in TORCHRUN} == TORCHRUN
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("gpu07", "18456")
    assert (distributed.rank(), distributed.world_size(), distributed.processes_here()) == (5, 8, 4)


def test_an_address_that_is_given_stays(environment: dict[str, str]) -> None:
    environment.update(STEP, MASTER_ADDR="10.0.0.1", MASTER_PORT="4711")
    join(Machine())
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("10.0.0.1", "4711")


def test_one_process_is_told_nothing(environment: dict[str, str]) -> None:
    before = dict(environment)
    join(Machine(nodes=1, processes_per_node=1))
    assert environment == before


@pytest.mark.parametrize(
    ("variables", "override", "message"),
    [
        ({}, "machine.nodes=2", "machine.nodes: 2, but python started 1 process, 1 on each of 1 node;"),
        (
            TORCHRUN,
            "machine.processes_per_node=8",
            "machine.processes_per_node: 8, but torchrun started 8 processes, 4",
        ),
        (STEP, "machine.nodes=4", "machine.nodes: 4, but srun started 8 processes, 4 on each of 2 nodes;"),
    ],
)
def test_another_number_of_processes_than_stated_is_refused(
    environment: dict[str, str], job: Path, tmp_path: Path, variables: dict[str, str], override: str, message: str
) -> None:
    environment.update(variables)
    said = runs.refused("train", job, f"run={tmp_path / 'run'}", override)
    assert said.startswith(message), said
    assert not (tmp_path / "run").exists()


def watched(world_size: int, seconds: float, beat: object) -> Watch:
    """A watch that has seen `beat(rank, second)` of each rank once a second; None is silence."""
    watch = Watch(timeout=10.0, interval=1.0, sees_all=True)
    for second in range(int(seconds) + 1):
        beats = {rank: beat(rank, second) for rank in range(world_size)}
        watch.see({rank: b for rank, b in beats.items() if b is not None}, float(second))
    return watch


def test_a_silent_rank_is_named_after_the_timeout() -> None:
    def beat(rank: int, second: int) -> Beat | None:
        return Beat(f"host{rank}", second, second) if rank != 2 or second <= 3 else None

    assert watched(4, 13, beat).verdict(13.0) is None
    verdict = watched(4, 14, beat).verdict(14.0)
    assert verdict is not None
    assert verdict[0] == 2
    assert "rank 2 on host2 has given no sign of life for 11.0 s" in verdict[1]


def test_who_waits_in_a_collective_is_not_to_blame() -> None:
    def beat(rank: int, second: int) -> Beat:  # rank 1 stops at 5 collectives, the others wait in the 6th
        return Beat(f"host{rank}", second, min(second, 5 if rank == 1 else 6))

    assert watched(3, 15, beat).verdict(15.0) is None
    verdict = watched(3, 16, beat).verdict(16.0)
    assert verdict is not None
    assert verdict[0] == 1
    assert "rank 1 on host1 has kept the others waiting for 11.0 s" in verdict[1]


def test_a_long_stretch_without_collectives_blames_nobody() -> None:
    assert watched(3, 100, lambda rank, second: Beat("host", second, 7)).verdict(100.0) is None


def test_after_a_failed_collective_three_beats_suffice() -> None:
    def beat(rank: int, second: int) -> Beat | None:
        return Beat(f"host{rank}", second, second, failed=second > 3) if rank == 0 or second <= 3 else None

    assert watched(2, 6, beat).verdict(6.0) is None
    verdict = watched(2, 7, beat).verdict(7.0)
    assert verdict is not None
    assert verdict[0] == 1


TIMEOUT = 5
Ends = dict[str, dict[str, tuple[int, float]]]
"""By case and rank: the exit code, and the seconds since the mishap."""


@pytest.fixture(scope="module")
def struck(job: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ends, Path]:
    """How jobs of two processes ended, one of which something befell, and the folder of their logs."""
    folder = tmp_path_factory.mktemp("struck")
    said = jobs.launch("struck.py", job, folder, TIMEOUT)
    return json.loads(said.splitlines()[-1]), folder


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.alone
@pytest.mark.parametrize("case", ["told to end", "first told to end"])
def test_a_signal_to_one_process_stops_all_with_a_checkpoint(struck: tuple[Ends, Path], case: str) -> None:
    ends, folder = struck
    assert [code for code, _ in ends[case].values()] == [75, 75], ends
    (last,) = jobs.checkpoints(folder / case)[-1:]
    assert f"stopped at {last:,} images, checkpoint saved" in (folder / f"{case}-0.log").read_text()


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.alone
@pytest.mark.parametrize(
    ("case", "survivor", "seconds", "words"),
    [
        ("killed", 0, TIMEOUT, "rank 1 on {host} has given no sign of life"),
        ("stopped", 0, 2 * TIMEOUT, "rank 1 on {host} has given no sign of life"),
        ("first killed", 1, TIMEOUT, "rank 0 on {host} "),  # silent, or gone with the store: what shows first
        ("first stopped", 1, 2 * TIMEOUT, "rank 0 on {host} has given no sign of life"),
        ("asleep", 0, 3 * TIMEOUT, "rank 1 on {host} has kept the others waiting"),
        ("asleep", 1, 3 * TIMEOUT, "rank 1 on {host} has kept the others waiting"),
        ("first asleep", 0, 3 * TIMEOUT, "rank 0 on {host} has kept the others waiting"),
        ("first asleep", 1, 3 * TIMEOUT, "rank 0 on {host} has kept the others waiting"),
    ],
)
def test_the_survivor_ends_in_time_and_names_who_is_missing(
    struck: tuple[Ends, Path], case: str, survivor: int, seconds: float, words: str
) -> None:
    ends, folder = struck
    log = (folder / f"{case}-{survivor}.log").read_text()
    assert str(survivor) in ends[case], f"never ended: {log}"
    code, took = ends[case][str(survivor)]
    assert code == 1, log
    assert took < seconds, log
    assert log.count("ganlab: ") == 1
    assert words.format(host=socket.gethostname()) in log
    assert ("sleeper.py" in log) == ((case, survivor) in (("asleep", 1), ("first asleep", 0)))  # the sleeper says where
    assert "Traceback" not in log


def workers(agent: int) -> dict[int, int]:
    """The processes that a torchrun started, by rank; their ids."""
    found = {}
    for pid in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        variables = dict(
            text.split("=", 1) for text in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in text
        )
        if "RANK" in variables:
            assert variables["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1"
            found[int(variables["RANK"])] = int(pid)
    return found


@pytest.mark.slow
def test_a_port_that_another_program_uses_is_one_clear_message(job: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"127.0.0.1:{other.getsockname()[1]}"
        node = jobs.start("launch/torchrun.sh", job, log=tmp_path / "log", NODES="2", PROCESSES="1", RENDEZVOUS=place)
        assert node.wait(timeout=60) == 2
    said = (tmp_path / "log").read_text().splitlines()
    assert len(said) == 1 and f"RENDEZVOUS={place}: port" in said[0] and "in use by another program" in said[0], said


@pytest.mark.slow
@pytest.mark.multi
def test_a_killed_worker_brings_the_job_back_and_it_ends_the_same(job: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    logs = [tmp_path / f"{node}.log" for node in range(2)]
    nodes = [
        jobs.start(
            *("launch/torchrun.sh", job, f"run={run}"),
            log=log,
            **{"NODES": "2", "PROCESSES": "1", "RESTARTS": "3", "RENDEZVOUS": f"127.0.0.1:{jobs.free_ports(1)}"},
        )
        for log in logs
    ]
    try:
        seen = jobs.wait_for("a checkpoint and a half", lambda: jobs.images_seen(run) >= 1800)
        pids = {rank: pid for node in nodes for rank, pid in workers(node.pid).items()}
        assert pids.keys() == {0, 1}
        os.kill(pids[1], signal.SIGKILL)
        assert [node.wait(timeout=120) for node in nodes] == [0, 0], "\n".join(log.read_text() for log in logs)
    finally:
        for node in nodes:
            node.terminate()
    said = "".join(log.read_text() for log in logs)
    assert said.count("resuming from nimg-") == 1, said
    assert seen < jobs.IMAGES
    jobs.assert_same_end(run, undisturbed)

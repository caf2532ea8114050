"""The same config on 1, 2 and 4 processes ends in the same weights."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from repository import REPOSITORY

from ganlab.data.make.pack import pack

sys.path.insert(0, str(REPOSITORY / "tests" / "launched"))

from parity import CASES

pytestmark = [pytest.mark.slow, pytest.mark.multi]

Weights = dict[str, dict[str, torch.Tensor]]
FLOAT32_TOLERANCE = 2e-3
"""Of a weight after 50 steps: rounding grows with every step, and Adam turns the sign of a tiny gradient into a step of
1e-3; float64, where rounding is 1e9 times smaller, shows that nothing else differs."""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Weights]]:
    """The final weights of every case, by number of processes and rank."""
    folder = tmp_path_factory.mktemp("parity")
    images = np.random.default_rng(0).integers(0, 256, (96, 16, 16), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images, labels=np.arange(96) % 3)
    pack(folder / "images.npz", folder / "shards", size=16)
    weights = {}
    for processes in (1, 2, 4):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        subprocess.run(
            [*launch, REPOSITORY / "tests" / "launched" / "parity.py", folder / "shards", folder],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        weights[processes] = [torch.load(folder / f"{processes}-{rank}.pt") for rank in range(processes)]
    return weights


@pytest.mark.parametrize("case", CASES)
def test_ranks_hold_exactly_the_same(ended: dict[int, list[Weights]], case: str) -> None:
    for ranks in ended.values():
        for precision in ("fp64", "fp32"):
            first = ranks[0][f"{case} {precision}"]
            for other in ranks[1:]:
                for name, tensor in other[f"{case} {precision}"].items():
                    assert torch.equal(tensor, first[name]), (precision, name)


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_any_number_of_processes_ends_in_the_same_weights(
    ended: dict[int, list[Weights]], case: str, processes: int
) -> None:
    for precision, tolerance in (("fp64", 1e-10), ("fp32", FLOAT32_TOLERANCE)):
        one, many = ended[1][0][f"{case} {precision}"], ended[processes][0][f"{case} {precision}"]
        assert one.keys() == many.keys()
        for name, tensor in one.items():
            torch.testing.assert_close(many[name], tensor, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")

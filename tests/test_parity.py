"""The same config on 1, 2 and 4 processes ends in the same weights."""

import jobs
import pytest
import torch
from parity import CASES, PROCESSES, pack_noise

pytestmark = [pytest.mark.slow, pytest.mark.multi]

Weights = dict[str, dict[str, torch.Tensor]]
FLOAT32_TOLERANCE = 2e-3
"""Of a weight: rounding grows with every step, and Adam makes a step of 1e-3 of the sign of a tiny gradient; float64,
where rounding is 1e9 times smaller, shows that nothing else differs."""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Weights]]:
    """The final weights of every case, by number of processes and rank."""
    folder = tmp_path_factory.mktemp("parity")
    jobs.launch("parity.py", pack_noise(folder), folder)
    return {number: [torch.load(folder / f"{number}-{rank}.pt") for rank in range(number)] for number in PROCESSES}


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

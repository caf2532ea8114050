"""The stand-ins of a dry run do as CUDA's graphs do, and the GPU's benchmark runs on them."""

import json

import jobs
import pytest
import torch
from device import WAITING, Graph, Recording, Refusing


def test_a_graph_repeats_its_operators_on_the_memory_and_with_the_numbers_that_it_was_recorded_with():
    weight, place, factor = torch.ones(3), torch.arange(3.0), 2.0
    graph = Graph()
    with Recording(graph):
        seen = weight.mul_(factor) + place  # 2 w, and its sum with what lies in `place`
    for number in range(1, 4):
        graph.replay()  # the first one is the recorded step itself
        assert torch.equal(weight, torch.full((3,), 2.0**number))
        assert torch.equal(seen, weight + place)
        place.add_(number)
        factor = 100.0


@pytest.mark.parametrize("act", [lambda: torch.ones(2).sum().item(), lambda: torch.tensor([1.0, 2.0])])
def test_a_graph_neither_reads_the_device_nor_copies_to_it(act):
    act()
    with pytest.raises(RuntimeError, match="is not permitted here"), Recording(Graph()):
        act()


def test_a_step_that_must_not_wait_may_still_copy_to_the_device():
    with Refusing(WAITING):
        assert torch.tensor([1.0]).shape == (1,)


@pytest.mark.slow
def test_captured_steps_are_those_of_eager_ones():
    found = json.loads(jobs.launch("captured.py", GANLAB_DRY_GPU="1").splitlines()[-1])
    assert found.keys() == {"dcgan", "R3GAN"}
    # Where a step is captured, the learning rate is a tensor of float32.
    assert all(each["graphs"] == 2 and each["far"] < 1e-7 for each in found.values()), found


@pytest.mark.slow
def test_the_gpus_benchmark_runs_without_a_gpu():
    words = "--only", "SN-GAN 32", "--way", "bf16+graphs", "--images", 0
    said = jobs.launch("../../benchmarks/gpu.py", *words, GANLAB_DRY_GPU="1")
    assert said.startswith("DRY: ") and said.count(" images/s ") == 1, said

"""Losses compiled whole, against eager ones."""

import json
from pathlib import Path
from typing import Any

import jobs
import pytest
import tiny_runs as runs
import torch
from compiled import RECOMPILED

from ganlab.experiment.checkpoints import newest

pytestmark = pytest.mark.slow

TOLERANCE = 1e-9
"""Of a weight of about 1, in float64, after 20 steps."""


@pytest.fixture(scope="module")
def found() -> Any:
    return json.loads(jobs.launch("compiled.py").splitlines()[-1])


@pytest.mark.parametrize(
    ("case", "graphs"),
    [
        ("everything", 2),  # every objective and regularizer of the literature
        ("dcgan, micro-batches", 6),  # with R1 and without, the generator's: of 12 images, and of the 4 that are left
        ("sngan", 2),
        ("projection", 2),
        ("wgan-gp", 2),
        ("progressive", 6),  # of each player at 4, 8 fading in and 8 px
        ("bf16", 3),
        ("schedules", 3),  # whose values change at every step
    ],
)
def test_steps_are_those_of_eager_losses(found: Any, case: str, graphs: int) -> None:
    assert found[case]["far"] < TOLERANCE
    assert found[case]["graphs"] == graphs
    assert found[case]["logged"] == []


@pytest.mark.parametrize(
    ("case", "graphs"),
    [
        ("BiGAN", 3),  # with R1 and without; the generator's
        ("autoencoder", 3),
        ("autoencoder, simultaneous", 3),
        ("alpha-GAN", 4),
        ("remembering", 2),
    ],
)
def test_games_of_any_number_of_players_compile_whole_and_equal_eager_ones(found: Any, case: str, graphs: int) -> None:
    assert found[case]["far"] < 1e-10
    assert found[case]["graphs"] == graphs
    assert found[case]["logged"] == []


def test_what_cannot_be_one_graph_is_named_once_and_goes_on_eagerly(found: Any) -> None:
    assert found["broken"]["far"] == found["broken"]["graphs"] == 0
    assert [line.split(": ")[1] for line in found["broken"]["logged"]] == [
        "the discriminator's loss stays uncompiled",
        "the generator's loss stays uncompiled",
    ]
    assert all("launched/compiled.py:" in line and "in forward" in line for line in found["broken"]["logged"])


def test_what_would_be_compiled_for_ever_is_named_once_and_goes_on_eagerly(found: Any) -> None:
    assert found["unstable"]["far"] == 0
    assert found["unstable"]["graphs"] == 2 * RECOMPILED  # of each player's
    assert len(found["unstable"]["logged"]) == 2
    assert all("TORCH_LOGS=recompiles" in line for line in found["unstable"]["logged"])


@pytest.mark.multi
def test_two_processes_compiled_and_sharded_end_as_one_does(dataset: Path, tmp_path: Path) -> None:
    config = runs.write_config(tmp_path, dataset)
    words = ["model.batch_norm_group=4", "machine.precision=fp64"]
    runs.done(config, f"run={tmp_path / 'eager'}", *words)
    faster = [*words, "machine.compile=true", "machine.shard=true", f"run={tmp_path / 'compiled'}"]
    assert "stays uncompiled" not in jobs.launch("trained.py", 2, config, *faster)
    (_, one), (_, two) = (newest(tmp_path / run / "checkpoints") for run in ("eager", "compiled"))
    for name, tensor in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], tensor, rtol=0, atol=TOLERANCE, msg=name)

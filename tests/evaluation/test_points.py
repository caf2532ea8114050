"""Points are trained on, evaluated by what fits them, drawn, and trained again for many seeds."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny_runs as runs
import torch
from PIL import Image
from test_more_data import POINTS, TRUST

from ganlab.data.read.toys import parse
from ganlab.engine.runtime import Runtime
from ganlab.evaluation.evaluate import evaluate
from ganlab.evaluation.images import Points, open_images
from ganlab.evaluation.pictures import judged
from ganlab.metrics.modes import modes_of
from ganlab.models import GANModule
from ganlab.networks import points
from ganlab.objectives import NonSaturating
from ganlab.types import ImageSpec, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN = """
train: {batch: 8, total_nimg: 32, tick_nimg: 16, sample_every_nimg: 16, checkpoint_every_nimg: 32}
evaluation: {every_nimg: 32, samples: 500}
machine: {device: cpu, threads: 1, decode_threads: 1}
logging: {wandb: disabled}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ring.yaml"
    path.write_text(POINTS.replace("samples=40", "samples=4000").format() + TRAIN)
    return path


def results(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]


def measured(fakes: str, reals: str, *metrics: str, n: int | None = None) -> dict[str, float]:
    rows = evaluate(open_images(fakes, n), open_images(reals), metrics, None, torch.device("cpu"), about={})
    return {row["metric"]: row["value"] for row in rows} | {row["name"]: row["standard_error"] for row in rows}


def test_a_mixture_evaluated_against_itself() -> None:
    found = measured("toy:ring?seed=1", "toy:ring", "modes", "mmd", n=3000)
    assert found["modes"] == 8 and found["high_quality"] == pytest.approx(1 - np.exp(-4.5), abs=0.01)
    assert found["reverse_kl"] < 0.01 and found["p_value"] > 0.01 and abs(found["mmd"]) < 5e-3
    p = found["high_quality"]
    assert found["high_quality2500_3std_ring"] == pytest.approx((p * (1 - p) / 2500) ** 0.5)
    assert "mmd1k_ring-first1k" in found
    wide = measured("toy:ring?std=0.1", "toy:ring", "modes", "mmd", n=3000)
    assert wide["modes"] == 8 and wide["high_quality"] == pytest.approx(1 - np.exp(-0.18), abs=0.03)
    assert wide["p_value"] == 1 / 201  # though the median distance is a hundred times the difference
    assert measured("toy:ring?modes=3", "toy:ring?modes=6", "modes", n=3000)["modes"] == 3


def test_numbers_in_their_own_units() -> None:
    found = measured("toy:gaussian?mean=3&std=0.2", "toy:gaussian?samples=3000", "moments", "parzen", n=1000)
    assert found["mean"] == pytest.approx(3, abs=0.03) and found["deviation"] == pytest.approx(0.2, rel=0.05)
    ours = measured("toy:gaussian?seed=1", "toy:gaussian?samples=3000", "parzen", n=1000)
    entropy = -0.5 * np.log(2 * np.pi * np.e * 0.25)
    assert ours["parzen"] == pytest.approx(entropy, abs=0.05) and found["parzen"] < entropy - 1
    assert "parzen1k_valid1k_gaussian?samples=3000-full3k" in ours


@pytest.mark.parametrize(
    ("fakes", "reals", "metric", "message"),
    [
        (
            "toy:ring",
            "toy:ring",
            "fid",
            "fid: takes images, and ring has points; choose from modes, moments, mmd, ",
        ),
        (
            "toy:gaussian",
            "toy:gaussian",
            "modes",
            "modes: gaussian is no mixture of points, such as toy:ring",
        ),
        ("toy:ring", "toy:ring", "moments", "moments: ring has no points of one coordinate, such as toy:gaussian"),
        ("toy:ring", "toy:ring", "conditioning", "conditioning: needs a run"),
        ("toy:gaussian", "toy:ring", "mmd", r"mmd: gaussian and ring have images of \[c, h, w\]"),
    ],
)
def test_what_points_do_not_have(fakes: str, reals: str, metric: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        measured(fakes, reals, metric, n=100)


@pytest.mark.slow
def test_seeds_of_a_run_of_points(config: Path, tmp_path: Path) -> None:
    """Each with its evaluations, pictures and film; done ones are left as they are."""
    run = tmp_path / "many"
    said = runs.ganlab("train", config, *TRUST, f"run={run}", "--seeds", "0,5..5")
    assert said.exit_code == 0, said.output
    assert sorted(path.name for path in run.iterdir()) == ["seed-00", "seed-05"]
    rows = results(run / "seed-05")
    assert [row["name"] for row in rows if row["nimg"] == 32] == [
        "modes500_3std_ring?modes=5&samples=4000_ema_bn-none",
        "high_quality500_3std_ring?modes=5&samples=4000_ema_bn-none",
        "reverse_kl500_3std_ring?modes=5&samples=4000_ema_bn-none",
        "mmd500_ring?modes=5&samples=4000-first1k_ema_bn-none",
        "p_value500_ring?modes=5&samples=4000-first1k_ema_bn-none",
    ]
    values = [results(run / f"seed-{seed}")[-2]["value"] for seed in ("00", "05")]
    assert len(set(values)) == 2
    lines = said.stdout.splitlines()
    (table,) = [number for number, line in enumerate(lines) if line.startswith("over 2 seeds")]
    assert lines[table].split()[3:] == ["lowest", "10", "%", "median", "90", "%", "highest"]
    (mmd,) = [line.split() for line in lines[table:] if line.startswith("mmd")]
    assert mmd[1:] == [f"{value:.3g}" for value in np.quantile(values, [0, 0.1, 0.5, 0.9, 1])]
    assert len({(run / f"seed-{seed}" / "config.yaml").read_text() for seed in ("00", "05")}) == 2
    before = runs.files(run)
    again = runs.ganlab("train", config, *TRUST, f"run={run}", "--seeds", "0,5")
    assert again.exit_code == 0 and again.stdout.count("already done: 32 images") == 2
    assert again.stdout.splitlines()[-6:] == lines[-6:]
    assert {name: at for name, at in runs.files(run).items() if "config" not in name and "lock" not in name} == {
        name: at for name, at in before.items() if "config" not in name and "lock" not in name
    }
    with Image.open(run / "seed-00" / "samples" / "film.gif") as film:
        assert (film.n_frames, film.size) == (2, (512, 552))
    whole = runs.ganlab("evaluate", run / "seed-00", *TRUST, "-n", 500, "--metrics", "modes,conditioning")
    assert whole.exit_code == 0, whole.output
    again = {row["metric"]: row["value"] for row in results(run / "seed-00")}
    assert again["modes"] == next(row["value"] for row in results(run / "seed-00") if row["nimg"] == 32)
    assert again["conditioning"] > 0 and "conditioning64_ema_bn-none" in whole.stdout


@pytest.mark.parametrize("seeds", ["3..1", "a", "1..", "-1"])
def test_seeds_that_are_none(config: Path, seeds: str, tmp_path: Path) -> None:
    said = runs.ganlab("train", config, f"run={tmp_path / 'none'}", "--seeds", seeds)
    assert said.exit_code == 2 and "write 0..31, or 1,4,10..19" in said.stderr
    assert not (tmp_path / "none").exists()


def test_a_discriminator_that_couples_a_group_judges_each_point_among_reals() -> None:
    image = ImageSpec(1, 1, 2)
    adam = partial(torch.optim.Adam, lr=1e-3)
    places, reals = np.array([[0.5, 0.25], [-1.0, 0.0], [0.0, 0.0]]), torch.randn(8, 2, 1, 1)
    for kernels in (0, 2):
        game = GANModule(
            image=image,
            generator=points.Generator(image=image, width=4, latent=2),
            discriminator=points.Discriminator(image=image, width=4, kernels=kernels, group=4),
            objective=NonSaturating(),
            optimizers={"generator": adam, "discriminator": adam},
            runtime=Runtime(precision="fp64"),
        )
        labels, company = torch.zeros(4, dtype=torch.int64), reals[:3].flatten(1).double()
        by_hand = [
            float(game.discriminator(torch.cat([torch.tensor(place)[None], company])[:, :, None, None], labels)[0])
            for place in places
        ]
        assert judged(game, places, reals).tolist() == pytest.approx(by_hand, rel=1e-6)


def test_modes_of_a_run_are_those_of_its_samples() -> None:
    reals, toy = Points("toy:grid?side=3", 200), parse("toy:grid?side=3")
    assert len(reals) == 200 and reals.total == 1_000_000
    blocks = torch.cat([reals.block(start)[0] for start in (0, 64, 128, 192)])
    labels = torch.cat([reals.block(start)[1] for start in (0, 64, 128, 192)])
    centres = torch.tensor(np.stack(toy.centres(np.arange(9)), 1))
    found = modes_of(blocks.flatten(1) * reals.extent, centres, toy.std)
    assert blocks.shape == (200, 2, 1, 1) and found.covered == len(labels.unique()) == 9

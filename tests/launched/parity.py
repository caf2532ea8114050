"""Trains every case on 1, 2 and 4 processes, and leaves each rank's final weights in a folder.

Usage: parity.py SHARDS OUT, with the shards of `pack_noise`.
"""

import sys
from functools import partial
from pathlib import Path

import forks
import games
import numpy as np
import torch

from ganlab import distributed
from ganlab.data.make.pack import pack
from ganlab.data.read.module import ShardData
from ganlab.engine import loop
from ganlab.engine.game import Game
from ganlab.engine.signals import Signals
from ganlab.engine.state import seat
from ganlab.experiment.build import build_model, set_arithmetic
from ganlab.experiment.config import from_dict
from ganlab.experiment.frame import Config
from ganlab.experiment.launch import open_group
from ganlab.types import ImageSpec

STEPS = 12
"""Rounds of a game, unless its case says otherwise: three with a penalty of every fourth, two of five steps to one."""
BATCH = 16
PROCESSES = (1, 2, 4)


def pack_noise(folder: Path) -> Path:
    """Pack 96 grey images in three classes, at the two sizes that the cases take; return their folder."""
    images = np.random.default_rng(0).integers(0, 256, (96, 16, 16), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images, labels=np.arange(96) % 3)
    for size in (8, 16):
        pack(folder / "images.npz", folder / "shards" / f"{size}px", size=size)
    return folder / "shards"


def part(name: str, **arguments: object) -> dict[str, object]:
    return {"_target_": name, **arguments}


def game(generator: dict[str, object] | None = None, discriminator: dict[str, object] | None = None, **more: object):
    adam = part("torch.optim.Adam", lr=1e-3, betas=[0.5, 0.99])
    return part(
        "ganlab.models.GANModule",
        generator=part("toys.Generator", **(generator or {})),
        discriminator=part("toys.Discriminator", **(discriminator or {})),
        objective=part("ganlab.objectives.NonSaturating"),
        optimizers={"generator": adam, "discriminator": adam},
        ema_half_life=100.0,
        **more,
    )


def penalty(name: str, **arguments: object) -> dict[str, object]:
    return {name.lower(): part(f"ganlab.regularizers.{name}", **arguments)}


def residual(model: str, **arguments: object) -> dict[str, object]:
    """Make a narrow SN-GAN or projection GAN.

    Biases before a batch norm have rounding as their gradients, of which Adam in float32 makes steps: small ones here.
    """
    return part(f"ganlab.models.{model}", generator_width=4, discriminator_width=4, lr=5e-5, **arguments)


SLOW_ADAM = part("torch.optim.Adam", lr=5e-5, betas=[0.0, 0.9])
WGAN_GP = part(
    "ganlab.models.GANModule",
    generator=part("ganlab.networks.resnet.Generator", width=4),
    discriminator=part("ganlab.networks.resnet.Discriminator", width=4, spectral_norm=False, pooling="mean"),
    objective=part("ganlab.objectives.Wasserstein"),
    regularizers=penalty("GradientPenalty", weight=10.0),
    optimizers={"generator": SLOW_ADAM, "discriminator": SLOW_ADAM},
    discriminator_steps=5,
    generator_batch=2.0,
    dequantize=True,
)

TOYS = {name: {"model": toy, "size": 8} for name, toy in games.GAMES.items()}
"""Games of two, three and four players."""

CASES: dict[str, dict[str, object]] = {
    "plain": {"model": game()},
    "conditional and mirrored": {
        "model": game({"conditional": True}, {"conditional": True}, augment=part("ganlab.augment.MirrorFlip"))
    },
    "spectral norm": {"model": game(None, {"spectral": True})},
    "gradient penalty": {"model": game(regularizers=penalty("GradientPenalty", weight=10.0, every=2))},
    "R1": {"model": game(regularizers=penalty("R1", weight=1.0, every=4))},
    "batch norm over the batch": {
        "model": game({"norm_kind": "batch"}, {"norm_kind": "batch"}, regularizers=penalty("R1", weight=1.0, every=4))
    },
    "batch norm over groups": {"model": game({"norm_kind": "4"}, {"norm_kind": "2"})},
    "minibatch deviation": {"model": game(None, {"minibatch_std": 4}, regularizers=penalty("R1", weight=1.0))},
    "unequal players": {"model": game(discriminator_steps=3, generator_batch=2.0)},
    "micro-batches": {"model": game(regularizers=penalty("R1", weight=1.0)), "micro_batch": 4},
    "SN-GAN": {"model": residual("SNGAN")},
    "projection, labels of the data, groups": {
        "model": residual("ProjectionGAN", fake_labels="data", batch_norm_group=4)
    },
    "WGAN-GP": {"model": WGAN_GP},
    "growing through two fades": {  # of images 80 to 160 and 240 to 320
        "model": part(
            "ganlab.models.ProgressiveGAN",
            **{"width_base": 32, "width_max": 8, "latent": 8, "train_nimg": 80, "fade_nimg": 80},
            optimizers=dict.fromkeys(  # whose decay would shrink the weights of sizes that are not in use
                ("generator", "discriminator"), part("torch.optim.AdamW", lr=2e-4, betas=[0.0, 0.99], weight_decay=0.1)
            ),
        ),
        "steps": 24,
    },
    "DCGAN": {"model": part("ganlab.models.DCGAN", width=4, regularizers=penalty("R1", weight=1.0, every=4))},
    **TOYS,
}


def config_of(case: dict[str, object], shards: str, precision: str) -> Config:
    size, total = case.get("size", 16), case.get("steps", STEPS) * BATCH
    return from_dict(
        {
            "model": case["model"],
            "data": {"url": f"{shards}/{size}px", "image": vars(ImageSpec(size, size, 1, 3))},
            "train": {"total_nimg": total, "batch": BATCH, "micro_batch": case.get("micro_batch")},
            "machine": {"device": "cpu", "precision": precision, "threads": 1},
            "run": "unused",
            "trust": ["toys", "games"],
        },
        "case",
    )


def play(config: Config) -> Game:
    """Play a config's images as its machine says."""
    model, data = build_model(config), ShardData(config.data.url, batch=BATCH, seed=config.seed)
    set_arithmetic(config.machine)
    device = open_group(config.machine)
    seat(model, device, shard=config.machine.shard)
    loop.fit(model, data.loader(model, device), Signals(), total_nimg=config.train.total_nimg, tasks=[])
    model.settle()
    return model


def final_weights(config: Config) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in play(config).state_dict().items()}


def main(shards: str, out: str) -> None:
    weights = {
        f"{name} {precision}": final_weights(config_of(case, shards, precision))
        for name, case in CASES.items()
        for precision in ("fp64", "fp32")
    }
    torch.save(weights, Path(out) / f"{distributed.world_size()}-{distributed.rank()}.pt")
    games.destroy()


if __name__ == "__main__":
    act = partial(main, *sys.argv[1:])
    sys.exit(any(forks.finish(*(pid for number in PROCESSES for pid in forks.job(number, act)))))

"""Steps made by the CUDA graphs of a dry run, against eager ones; prints by case what is different, as JSON."""

import json
import sys
from functools import partial
from pathlib import Path

import torch
from compiled import BATCH, IMAGE, dcgan

from ganlab.augment import ADA
from ganlab.engine.runtime import Runtime
from ganlab.models import R3GAN, GANModule

sys.path.insert(0, str(Path(__file__).parents[1]))

import device  # noqa: F401 (stands in for CUDA's graphs)

STEPS = 6
SMALL = {"width": 16, "group_width": 8, "beta2": (0.9, 0.9), "augment": ADA(p=0.5, colour=0.5, cutout=1.0)}
CASES = {
    "dcgan": partial(dcgan, Runtime(precision="fp64")),
    "R3GAN": partial(R3GAN, image=IMAGE, conditional=True, runtime=Runtime(precision="fp64", other=IMAGE), **SMALL),
}


def played(case: str, captured: bool) -> GANModule:
    torch.manual_seed(0)
    model = CASES[case]()
    model.cuda_graphs = captured
    model.configure_optimizers()
    draw = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        pixels = torch.randint(0, 256, (2, BATCH, 3, 16, 16), dtype=torch.uint8, generator=draw)
        labels = torch.randint(0, IMAGE.classes, (2, BATCH), generator=draw)
        model.training_step(
            {"real": pixels[0], "labels": labels[0], "other": pixels[1], "other_labels": labels[1]}, step
        )
    return model


def compare(case: str) -> dict[str, float]:
    eager, captured = (played(case, way) for way in (False, True))
    pairs = zip(eager.state_dict().values(), captured.state_dict().values(), strict=True)
    return {"graphs": len(captured.run_step.graphs), "far": max(float((a - b).abs().max()) for a, b in pairs)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({case: compare(case) for case in CASES}))

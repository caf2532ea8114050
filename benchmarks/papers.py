"""What the literature says beside what this project measures: `python benchmarks/papers.py` writes `PAPERS.md`.

- Measured rows come from `benchmarks/rows`, where `literature.py` and `players.py` keep those of their last runs; here
  stands only which paper says each. A row whose bar is our own is in that table, not here.
- Numbers of parameters are counted now, from the shipped configs, without allocating any.
- What takes a GPU stands last, with its command, until it has been run.

A test renders the page again and compares.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from rows import kept

from ganlab.experiment.build import build_model
from ganlab.experiment.config import load

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs"


class Said(NamedTuple):
    """Which paper says what a module's rows of one system measure."""

    module: str
    system: str
    """How the name begins."""
    quantity: str
    """A regular expression that its quantity has."""
    paper: str
    where: str


SAID = (
    Said("dynamics", "bilinear", "^extragradient", "Gidel et al. 2019", "eq. 11, 12"),
    Said("dynamics", "bilinear", "past extragradient", "Gidel et al. 2019", "section 3.3"),
    Said("dynamics", "bilinear", "consensus", "Mescheder et al. 2017", "algorithm 1"),
    Said("dynamics", "bilinear", "symplectic", "Balduzzi et al. 2018", "algorithm 1"),
    Said("dynamics", "bilinear", "unrolled", "Metz et al. 2017", "eq. 7 to 11"),
    Said("dynamics", "Dirac-GAN", "no penalty", "Mescheder et al. 2018", "section 2"),
    Said("dynamics", "Dirac-GAN", "R1.*eigenvalues", "Mescheder et al. 2018", "eq. 9 on section 2's game"),
    Said("fgan", "f-GAN", "", "Nowozin et al. 2016", "section 4.1, the optimum by quadrature"),
    Said("wgan", "WGAN", "the critic's slope", "Arjovsky et al. 2017", "eq. 2, clipped as in algorithm 1"),
    Said("wgan", "WGAN", "its objective", "Arjovsky et al. 2017", "eq. 2, clipped as in algorithm 1"),
    Said("wgan", "WGAN", "critic steps", "Arjovsky et al. 2017", "the authors' code: 5, or 100"),
    Said("wgan", "WGAN", "largest weight", "Arjovsky et al. 2017", "algorithm 1"),
    Said("packing", "packs of", "", "Lin et al. 2018", "section 4"),
    Said("packing", "ring, packs of", "modes", "Lin et al. 2018", "table 1: 7.9 of 8 in pairs, 6.3 alone"),
    Said("ring", "ring", "modes", "Metz et al. 2017", "the ring: all modes with unrolling, few without"),
    Said("penalties", "parallel lines, non-saturating, R1", "", "Mescheder et al. 2018", "section 4.1: converges"),
    Said("gaussian", "1-D Gaussian", "without the layer", "Salimans et al. 2016", "section 3.2: avoids collapse"),
    Said("likelihood", "Real NVP", "", "Danihelka et al. 2017", "the adversary wins by the critic only"),
    Said("measures", "MMD", "^N", "Gretton et al. 2012", "eq. 3"),
    Said("avb", "AVB, normal codes", "", "Mescheder et al. 2017, AVB", "proposition 1: log q(z given x) - log p(z)"),
    Said("avb", "AVB, four points", "", "Mescheder et al. 2017, AVB", "the four points: the exact posterior"),
    Said("avb", "VAE, four points", "", "Mescheder et al. 2017, AVB", "the four points: normal codes overlap"),
)


class Counted(NamedTuple):
    """A shipped config, and its networks' parameters by the authors' definition."""

    config: str
    paper: str
    where: str
    generator: int
    discriminator: int


COUNTED = (
    Counted("cifar10/sngan.yaml", "Miyato et al. 2018", "table 4", 4_276_739, 1_053_824),
    Counted("stl10/sngan.yaml", "Miyato et al. 2018", "table 5", 4_878_083, 10_141_441),
    Counted("imagenet128/sngan.yaml", "Miyato et al. 2018", "table 6", 32_150_787, 29_017_857),
    Counted("cifar10/projection.yaml", "Miyato & Koyama 2018", "section 4", 4_304_387, 1_055_104),
    Counted("imagenet128/projection.yaml", "Miyato & Koyama 2018", "section 4", 41_996_931, 30_041_857),
    Counted("cifar10/wgan_gp.yaml", "Gulrajani et al. 2017", "the authors' code for CIFAR-10", 1_204_483, 1_053_825),
    Counted("celeba_hq/progressive.yaml", "Karras et al. 2018", "table 2", 23_079_115, 23_087_249),
    Counted("imagenet128/sagan.yaml", "Zhang et al. 2019", "section 4", 42_017_412, 39_448_258),
    Counted("imagenet128/biggan.yaml", "Brock et al. 2019", "appendix B", 70_433_988, 87_982_370),
    Counted("imagenet256/biggan.yaml", "Brock et al. 2019", "appendix B", 82_235_844, 99_225_890),
    Counted("imagenet128/biggan_deep.yaml", "Brock et al. 2019", "appendix B", 50_244_484, 34_590_210),
    Counted("mnist/infogan.yaml", "Chen et al. 2016", "appendix C.1", 6_652_481, 6_558_144 + 1_025 + 133_262),
    Counted("facades/pix2pix.yaml", "Isola et al. 2017", "section 6.1", 54_413_955, 2_768_705),
    Counted("ffhq1024/stylegan2.yaml", "Karras et al. 2020", "figure 7, configuration F", 30_370_060, 29_012_513),
    Counted("cifar10/r3gan.yaml", "Huang et al. 2024", "section 4, the code's preset", 20_781_952, 21_280_512),
    Counted("ffhq64/r3gan.yaml", "Huang et al. 2024", "section 4, the code's preset", 22_429_824, 22_381_440),
    Counted("ffhq256/r3gan.yaml", "Huang et al. 2024", "section 4, the code's preset", 23_057_952, 23_009_568),
    Counted("imagenet32/r3gan.yaml", "Huang et al. 2024", "section 4, the code's preset", 82_914_304, 86_548_992),
    Counted("imagenet64/r3gan.yaml", "Huang et al. 2024", "section 4, the code's preset", 103_570_432, 107_205_120),
)


class Waiting(NamedTuple):
    """A quality that takes a GPU."""

    config: str
    paper: str
    what: str
    theirs: str


FID = "FID, 50,000 samples against the training images"
WAITING = (
    Waiting(
        "cifar10/sngan.yaml", "Miyato et al. 2018", "FID, 5,000 samples against 10,000 test images", "21.7 (table 2)"
    ),
    Waiting("cifar10/sngan.yaml", "torch-mimicry", FID, "16.77 (table of its README)"),
    Waiting("cifar10/projection.yaml", "torch-mimicry", FID, "10.84 (table of its README)"),
    Waiting("cifar10/r3gan.yaml", "Huang et al. 2024", FID, "1.96 (table of CIFAR-10)"),
    Waiting("ffhq64/r3gan.yaml", "Huang et al. 2024", FID, "1.95 (table of FFHQ-64)"),
    Waiting("ffhq1024/stylegan2.yaml", "Karras et al. 2020", FID, "2.84 (table 1, F)"),
    Waiting("imagenet128/biggan.yaml", "Brock et al. 2019", FID, "8.7 (table 1)"),
)


def measured() -> Iterator[tuple[str, ...]]:
    """Rows of the table from what the runs kept, in the order of the papers above."""
    for module, system, quantity, paper, where in SAID:
        command = "players.py" if (HERE / "systems" / f"{module}.py").exists() else "literature.py"
        for row in kept(module):
            told = row["system"].startswith(system) and re.search(quantity, row["quantity"])
            if told and not row["target"].startswith("no bar"):
                run = f"`{command} {module}`, seed {row['seed']}, {row['cpu_minutes']} min, {row['commit']}"
                state = "reproduced" if row["passed"] else "**missed**"
                claim = f"{row['system']}: {row['quantity']}"
                yield paper, claim, f"{row['target']} ({where})", f"{row['ours']:.4g}", run, state


def counts() -> Iterator[tuple[str, ...]]:
    """Rows of the table for the numbers of parameters."""
    for config, paper, where, *theirs in COUNTED:
        with torch.device("meta"):
            networks = build_model(load(CONFIGS / config)).networks
        for name, count in zip(("generator", "discriminator"), theirs, strict=True):
            ours = sum(weight.numel() for weight in networks[name].parameters())
            state = "reproduced" if ours == count else "**missed**"
            claim = f"parameters of the {name}, {config.removesuffix('.yaml')}"
            yield paper, claim, f"{count:,} ({where}, counted)", f"{ours:,}", f"`ganlab show configs/{config}`", state


def waiting() -> Iterator[tuple[str, ...]]:
    """Rows of the table for what has not been run."""
    for config, paper, what, theirs in WAITING:
        command = f"needs a GPU: `ganlab train configs/{config} --machine configs/machine/gpu.yaml`"
        yield paper, f"{what}, {config.removesuffix('.yaml')}", theirs, "", command, "not run"


HEAD = """# The literature's numbers, and ours

Made by `python benchmarks/papers.py` from what `benchmarks/literature.py` and `benchmarks/players.py` kept of their
runs (minutes of one core; the commit that was run, with `+` if files were changed) and from the shipped configs.
*Theirs* names the equation, table or section; a number of parameters is counted from the layers that are given there
and in the authors' code. Bars that are our own are in [RESULTS.md](RESULTS.md).

| paper | claim | theirs | ours | how | state |
|---|---|---|---|---|---|
"""


def page() -> str:
    """Return the page."""
    rows = [*measured(), *counts(), *waiting()]
    return HEAD + "".join("| " + " | ".join(row).replace("|w|", "norm of w") + " |\n" for row in rows)


if __name__ == "__main__":
    (HERE / "PAPERS.md").write_text(page())

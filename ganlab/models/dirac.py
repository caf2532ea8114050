"""Dirac-GAN: Mescheder et al. 2018, "Which training methods for GANs do actually converge?", section 2."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import SGD

from ganlab.engine.averages import Decay
from ganlab.engine.dynamics import Dynamics
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.runtime import Runtime
from ganlab.models.adversarial import GANModule
from ganlab.networks import dirac
from ganlab.objectives import NonSaturating, Objective
from ganlab.regularizers import Regularizer
from ganlab.types import ImageSpec

REMEMBERED = 4_096
"""Rounds whose weights are drawn."""


class DiracGAN(GANModule):
    """A game in the plane: a generator theta and a discriminator psi x; the data are one number, 0 in the paper.

    With `Wasserstein` it is the bilinear game min_theta max_psi theta psi. It remembers its way.

    `start`: theta and psi at first; others: `GANModule`.
    """

    REPLACES: ClassVar[Mapping[str, tuple[str, ...]]] = {"optimizers": ("lr",)}
    path: Tensor

    def __init__(
        self,
        *,
        image: ImageSpec,
        start: tuple[float, float] = (1.0, 1.0),
        objective: Objective = NonSaturating(),
        lr: float = 0.2,
        optimizers: Mapping[str, MakeOptimizer] | None = None,
        regularizers: Mapping[str, Regularizer] | None = None,
        discriminator_steps: int = 1,
        dynamics: Dynamics | None = None,
        runtime: Runtime = Runtime(),
    ) -> None:
        super().__init__(
            image=image,
            generator=dirac.Generator(image=image, start=start[0]),
            discriminator=dirac.Discriminator(start=start[1]),
            objective=objective,
            optimizers=optimizers or dict.fromkeys(("generator", "discriminator"), partial(SGD, lr=lr)),
            regularizers=regularizers,
            discriminator_steps=discriminator_steps,
            ema=Decay(0.0),
            dynamics=dynamics,
            runtime=runtime,
        )
        self.register_buffer("path", self.point().repeat(REMEMBERED, 1))

    def point(self) -> Tensor:
        """Return (psi, theta), in the players' order."""
        return torch.stack([*self.discriminator.parameters(), *self.generator.parameters()]).detach().clone()

    def feed_back(self, player: str, found: Mapping[str, Tensor]) -> None:
        """Remember the weights after a generator's step."""
        if player == "generator":
            self.path.copy_(self.path.roll(-1, 0))
            self.path[-1] = self.point()

"""Dirac-GAN: Mescheder et al. 2018, "Which training methods for GANs do actually converge?", section 2."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor
from torch.optim import SGD

from ganlab.engine.averages import Decay
from ganlab.engine.batch import Batch
from ganlab.engine.dynamics import Consensus, Dynamics
from ganlab.engine.dynamics.field import field_of
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.runtime import Runtime
from ganlab.metrics import spectrum
from ganlab.models.adversarial import GANModule
from ganlab.networks import dirac
from ganlab.objectives import NonSaturating, Objective
from ganlab.pictures.fields import beside, eigenvalues, extent_of, places, trajectory
from ganlab.regularizers import Regularizer
from ganlab.types import ImageSpec

REMEMBERED = 4_096
"""Rounds whose weights are drawn."""


class DiracGAN(GANModule):
    """A game in the plane: a generator theta and a discriminator psi x; the data are one number, 0 in the paper.

    With `Wasserstein` it is the bilinear game min_theta max_psi theta psi. Its picture is the way of (theta, psi) on
    the vector field that the players follow, and the eigenvalues of the field's Jacobian.

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
        self.batches: dict[str, Batch] = {}

    def point(self) -> Tensor:
        """Return (psi, theta), in the players' order."""
        return torch.stack([*self.discriminator.parameters(), *self.generator.parameters()]).detach().clone()

    def prepare(self, player: str, batch: Batch) -> Batch:
        """Keep the batch, of which a picture asks for the field."""
        self.batches[player] = batch
        return batch

    def feed_back(self, player: str, found: Mapping[str, Tensor]) -> None:
        """Remember the weights after a generator's step."""
        if player == "generator":
            self.path.copy_(self.path.roll(-1, 0))
            self.path[-1] = self.point()

    def picture(self) -> Image.Image:
        """Draw the way so far on the field that the players follow, and the eigenvalues of its Jacobian."""
        self.require_gradients(self.network_names)
        fields = {"of the gradients": field_of(self, self.batches)}
        if isinstance(self.dynamics, Consensus):
            fields["with consensus"] = spectrum.consensus(fields["of the gradients"], self.dynamics.gamma)
        *_, followed = fields.values()
        path = self.path.flip(1).cpu().numpy()  # theta, psi
        starts = torch.from_numpy(places(extent_of(path))).to(self.path).flip(1)
        moves = torch.stack([-followed(start).detach() for start in starts]).flip(1)
        values = {at: spectrum.eigenvalues(-spectrum.jacobian(xi, self.path[-1])).numpy() for at, xi in fields.items()}
        title = f"{type(self.dynamics).__name__}, {type(self.objective).__name__}, {self.clock.nimg:,} reals shown"
        way = trajectory(path, moves.cpu().numpy(), names=("theta", "psi"), title=title)
        lr = self.learning_rates()["discriminator"]
        title = f"eigenvalues; simultaneous steps of {lr:g} converge in the disc"
        return beside(way, eigenvalues(values, lr, title))

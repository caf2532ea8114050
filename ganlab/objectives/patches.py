"""Objectives of discriminators that judge an image in several places."""

from dataclasses import dataclass, field

from ganlab.objectives.base import Objective
from ganlab.objectives.logits import Hinge
from ganlab.types import PerSample, Scores


@dataclass(frozen=True, kw_only=True)
class OfPatches(Objective):
    """The mean of another objective over the logits of an image [n, patches] (Sauer et al. 2021, eq. 2)."""

    objective: Objective = field(default_factory=Hinge)

    def discriminator(self, real: Scores, fake: Scores) -> PerSample:
        """The mean of its losses."""
        losses: PerSample = self.objective.discriminator(real.flatten(), fake.flatten()).view(len(real), -1).mean(1)
        return losses

    def generator(self, fake: Scores) -> PerSample:
        """The mean of its losses."""
        losses: PerSample = self.objective.generator(fake.flatten()).view(len(fake), -1).mean(1)
        return losses

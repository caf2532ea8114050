"""The two-player adversarial game (Goodfellow et al. 2014): both losses, with any objective and penalties."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn

from ganlab.augment import Augment, augmented, drawn
from ganlab.constraints import Constraint
from ganlab.engine.averages import RAMPED, Average, HalfLife
from ganlab.engine.batch import Batch
from ganlab.engine.dynamics import Dynamics
from ganlab.engine.game import Loss
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.penalties import judge
from ganlab.engine.player import Player
from ganlab.engine.runtime import Runtime
from ganlab.models.judging import Judging
from ganlab.objectives import Objective
from ganlab.regularizers import Regularizer
from ganlab.schedules import CriticSteps, Schedule
from ganlab.seeding import Noise
from ganlab.types import Images, ImageSpec, Labels, UserError


class GANModule(Judging):
    """A generator against a discriminator; the caller gives every part.

    A round is a discriminator step, followed in every `discriminator_steps`-th round by a generator step.

    Args:
        generator: `network(latents [n, network.latent], labels [n]) -> images [n, c, h, w]` in [-1, 1].
        discriminator: `network(images, labels) -> logits [n]`. Both networks have `classes`: 0 ignores the labels. One
            with an attribute `noise` also takes that many standard normal numbers for each sample [n, noise].
        optimizers: by "generator" and "discriminator"; `lr_schedule` is a factor on both learning rates.
        regularizers, generator_regularizers: penalties of the discriminator and of the generator, by name.
        constraints: on the discriminator's weights, by name.
        augment: applied to the reals and the fakes of both players; penalties are on the images before it, but on
            interpolates of images after it.
        discriminator_steps: discriminator steps per generator step; or a function of the generator's steps so far.
        generator_batch: the generator's batch as a ratio to the discriminator's.
        ema_half_life: half-life of the generator's average, in reals shown; `ema` replaces it by another average.
        fake_labels: drawn uniformly over the classes, or the labels of the reals.
        image, dequantize, dynamics, runtime: see `Game`.
    """

    REPLACES: ClassVar[Mapping[str, tuple[str, ...]]] = {"optimizers": ("lr", "betas"), "ema": ("ema_half_life",)}
    RECORDS: ClassVar[tuple[str, ...]] = ("loss", "real_logit", "fake_logit", "augment_p")

    def __init__(
        self,
        *,
        image: ImageSpec,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        optimizers: Mapping[str, MakeOptimizer],
        regularizers: Mapping[str, Regularizer] | None = None,
        generator_regularizers: Mapping[str, Regularizer] | None = None,
        constraints: Mapping[str, Constraint] | None = None,
        augment: Augment | None = None,
        lr_schedule: Schedule | None = None,
        discriminator_steps: int | Callable[[int], int] | CriticSteps = 1,
        generator_batch: float = 1.0,
        ema_half_life: float | Schedule = RAMPED,
        ema: Average | None = None,
        fake_labels: Literal["uniform", "data"] = "uniform",
        dequantize: bool = False,
        dynamics: Dynamics | None = None,
        runtime: Runtime = Runtime(),
    ) -> None:
        if set(optimizers) != {"generator", "discriminator"}:
            raise UserError(f"model.optimizers: {', '.join(optimizers)}; give generator and discriminator")
        if generator_batch <= 0 or (fake_labels == "data" and generator_batch % 1):
            raise UserError(f"model.generator_batch: {generator_batch}: write more than 0; whole if fake_labels: data")
        self.objective, self.coupled, self.augment = objective, objective.coupled, augment
        self.fake_labels = fake_labels
        player, d, g = partial(Player, lr_schedule=lr_schedule), optimizers["discriminator"], optimizers["generator"]
        players = {
            "discriminator": player("discriminator", optimizer=d, regularizers=regularizers, constraints=constraints),
            "generator": player(
                "generator",
                optimizer=g,
                regularizers=generator_regularizers,
                every=discriminator_steps,
                batch=generator_batch,
                reals=objective.sees_reals,
            ),
        }
        super().__init__(
            image=image,
            networks={"generator": generator, "discriminator": discriminator},
            players=players,
            averages={"generator": ema or HalfLife(ema_half_life)},
            dequantize=dequantize,
            dynamics=dynamics,
            runtime=runtime,
        )
        self.adapt()

    def discriminator_loss(self, batch: Batch) -> Loss:
        """L_D(D(x), D(G(z))) of the objective (Goodfellow et al. 2014, eq. 1), due penalties; records the logits."""
        fake = self.fakes(batch)  # only dynamics let it pass gradients on
        points = {
            "real": self.seen(batch, "real", batch.real, batch.labels),
            "fake": self.seen(batch, "fake", fake, batch.fake_labels),
        }
        if any("interpolates" in penalty.at for penalty in batch.due.values()):  # Gulrajani et al. 2017, algorithm 1
            ends = [augmented(self.augment, images, change) for images, _, change, *_ in points.values()]
            _, labels, _, *noise = points["real"]
            points["interpolates"] = ends[0].lerp(ends[1], batch["interpolates"]), labels, {}, *noise
        penalties, logits = judge(self.judged, points, batch, self.slope)
        loss = self.objective.discriminator(logits["real"], logits["fake"])
        recorded = {f"{at}_logit": logits[at] for at in ("real", "fake")}
        if "augment real p" in batch:
            recorded["augment_p"] = batch["augment real p"]
        return {"loss": loss, **penalties}, recorded

    def generator_loss(self, batch: Batch) -> Loss:
        """L_G(D(G(z))) of the objective, or L_G(D(G(z)), D(x)) if it sees reals, and the due penalties."""
        penalties, made = judge(self.generate, {"latents": (batch.latents, batch.fake_labels)}, batch)
        fake = self.judged(*self.seen(batch, "fake", made.pop("latents"), batch.fake_labels))
        reals = [self.judged(*self.seen(batch, "real", batch.real, batch.labels))] if self.objective.sees_reals else []
        return {"loss": self.objective.generator(fake, *reals), **penalties}, made

    def fakes(self, batch: Batch) -> Images:
        """Make the images that the discriminator's loss gets."""
        return self.generate(batch.latents, batch.fake_labels)

    def generate(self, latents: Tensor, labels: Tensor, full: bool = False) -> Images:
        """Run the live generator."""
        return self.call(self.generator, latents, labels, full=full)  # type: ignore[no-any-return]

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw latents and labels of the fakes, noise and augmentation of the discriminator, and mixing weights."""
        found = super().draw(player, n, noise, labels)
        if self.fake_labels == "data":  # repeated in place: sample i has the same label on any number of ranks
            found["fake_labels"] = labels.repeat_interleave(n // len(labels))
        if any("interpolates" in penalty.at for penalty in self.players[player].regularizers.values()):
            found["interpolates"] = noise.uniform("between", n, 1, 1, 1)
        kinds = ("real", "fake") if self.players[player].reals else ("fake",)
        if dims := getattr(self.discriminator, "noise", 0):
            found |= {f"{kind} noise": noise.normal(f"{player} {kind} noise", n, dims) for kind in kinds}
        shape = n, *self.plan(self.clock.nimg).image.shape
        return found | drawn(self.augment, shape, noise, player, getattr(self, "augment_memory", None), kinds)

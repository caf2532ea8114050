"""ProGAN: Karras et al. 2018, "Progressive growing of GANs for improved quality, stability, and variation"."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

from ganlab.augment import Augment
from ganlab.engine.averages import Decay
from ganlab.engine.batch import Batch
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.runtime import Runtime
from ganlab.models.adversarial import GANModule
from ganlab.networks import progressive
from ganlab.objectives import Objective, Wasserstein
from ganlab.regularizers import Drift, GradientPenalty, Regularizer
from ganlab.seeding import Noise
from ganlab.types import Images, ImageSpec, Labels, Latents, Phase, UserError

Value = TypeVar("Value", int, float)

BATCHES = MappingProxyType({"4": 128, "32": 64, "64": 32, "128": 16, "256": 8, "512": 4})
LR_FACTORS = MappingProxyType({"1024": 1.5})
REGULARIZERS = MappingProxyType({"gradient_penalty": GradientPenalty(weight=10.0), "drift": Drift(weight=0.001)})


class ProgressiveGAN(GANModule):
    """Both networks start at 4 px and double: `fade_nimg` images fade a size in, `train_nimg` more train it.

    Growth is a function of the images shown, evaluated at the start of a step, so a run can resume during a fade. The
    reals are faded with the networks, and Adam is reset at both ends of each fade, as in the paper's code. The defaults
    are that code's for one GPU and 1024 px, in 12 M images; `configs/celeba_hq` has its schedule for eight GPUs.
    Deviations: growth is evaluated at every step instead of every fourth; `augment` may mirror both players' images,
    where the code mirrors only reals; and the batches of the paper's own runs (16 down to 3, with the deviation over
    the whole batch) are not multiples of 4, so its first schedule is not offered.

    Args:
        image: square, 4, 8, 16, ... 1024 px.
        width_base: channels at a size are `2 * width_base / size`, at most `width_max`.
        width_max: largest number of channels.
        latent: dimensions of the latent.
        conditional: condition both networks on the class.
        train_nimg: images at a size after its fade. The last size is trained until the end of the run.
        fade_nimg: images over which a size is faded in; 4 px has no fade.
        batches: reals in a round, by size in px: each holds from that size on.
        lr, betas: Adam's, for both players, unless `optimizers` are given.
        lr_factors: factors on the learning rate, by size: each holds from that size on; 1 before the first.
        ema_decay: decay of the average per discriminator step, as in the paper's code.

    The discriminator takes the minibatch deviation over groups of `train.group` consecutive samples. The other
    arguments are `GANModule`'s.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        width_base: int = 8192,
        width_max: int = 512,
        latent: int = 512,
        conditional: bool = False,
        train_nimg: int = 600_000,
        fade_nimg: int = 600_000,
        batches: Mapping[str, int] = BATCHES,
        lr: float = 1e-3,
        lr_factors: Mapping[str, float] = LR_FACTORS,
        betas: tuple[float, float] = (0.0, 0.99),
        objective: Objective = Wasserstein(),
        optimizers: Mapping[str, MakeOptimizer] | None = None,
        regularizers: Mapping[str, Regularizer] = REGULARIZERS,
        augment: Augment | None = None,
        ema_decay: float = 0.999,
        runtime: Runtime = Runtime(),
    ) -> None:
        if wrong := [f"{n}: {v}" for n, v in (("train_nimg", train_nimg), ("fade_nimg", fade_nimg)) if v <= 0]:
            raise UserError(f"model.{', model.'.join(wrong)}: must be more than 0")
        check_tables(batches, lr_factors)
        adam = partial(Adam, lr=lr, betas=betas)
        common: dict[str, Any] = {"image": image, "conditional": conditional}
        common |= {"width_base": width_base, "width_max": width_max}
        super().__init__(
            image=image,
            generator=progressive.Generator(latent=latent, **common),
            discriminator=progressive.Discriminator(group=runtime.group, **common),
            objective=objective,
            optimizers=optimizers or {"generator": adam, "discriminator": adam},
            regularizers=regularizers,
            augment=augment,
            lr_schedule=lambda nimg: by_size({"4": 1.0, **lr_factors}, self.level(nimg)[0]),
            ema=Decay(ema_decay, after="discriminator"),
            runtime=runtime,
        )
        self.fade_nimg = fade_nimg
        self._phases = [
            Phase(
                max(0, number * (train_nimg + fade_nimg) - fade_nimg),
                replace(image, height=size, width=size),
                by_size(batches, size),
            )
            for number, size in enumerate(progressive.sizes_of(image))
        ]

    def truncated(self, latents: Latents, labels: Labels, truncation: float, noise: Noise, name: str) -> Images:
        """Refuse it: the generator begins with a pixel norm of the latent."""
        raise UserError(
            f"truncation: {truncation}, but a {type(self).__name__} brings every latent to one length, whatever its "
            "numbers are: it would do nothing; leave it out"
        )

    @property
    def phases(self) -> Sequence[Phase]:
        """One phase per size, from the start of its fade on."""
        return self._phases

    def level(self, nimg: int) -> tuple[int, float]:
        """Return the size at `nimg`, and how far it has been faded in, in [0, 1]."""
        phase = self.plan(nimg)
        share = (nimg - phase.from_nimg) / self.fade_nimg if phase.from_nimg else 1.0
        return phase.image.height, min(share, 1.0)

    def step(self, name: str, reals: Mapping[str, Tensor]) -> None:
        """Make one step at the level of the clock when it starts."""
        size, alpha = self._grow()
        super().step(name, reals)
        new_size, new_alpha = self.level(self.clock.nimg)
        if (size, alpha < 1) != (new_size, new_alpha < 1):
            self.renew()

    def prepare(self, player: str, batch: Batch) -> Batch:
        """Average-pool reals to the current size, and fade them like the networks."""
        if "real" not in batch:
            return batch
        return replace(
            batch, tensors={**batch.tensors, "real": self._as_seen(batch.real, *self.level(self.clock.nimg))}
        )

    def averaged(self, latents: Latents, labels: Labels) -> Images:
        """Run the averaged generator at the current level; its pixels are repeated up to the full size."""
        self._grow()
        return F.interpolate(super().averaged(latents, labels), size=(self.image.height, self.image.width))

    def _grow(self) -> tuple[int, float]:
        level = self.level(self.clock.nimg)
        for network in (self.generator, self.discriminator, self.ema):
            assert isinstance(network, progressive.Growing)
            network.grow(*level)
        return level

    def _as_seen(self, real: Tensor, size: int, alpha: float) -> Tensor:
        real = F.avg_pool2d(real, real.shape[-1] // size)
        if alpha == 1:
            return real
        return F.interpolate(F.avg_pool2d(real, 2), scale_factor=2).lerp(real, alpha)


def by_size(table: Mapping[str, Value], size: int) -> Value:
    """Return the entry of a table for the largest size that is not above `size`."""
    return table[str(max(int(key) for key in table if int(key) <= size))]


def check_tables(batches: Mapping[str, int], lr_factors: Mapping[str, float]) -> None:
    """Refuse unknown sizes, numbers that are not positive, and batches without an entry for 4 px."""
    known = [str(2**power) for power in range(2, 11)]
    for name, table in (("batches", batches), ("lr_factors", lr_factors)):
        if wrong := [size for size in table if size not in known]:
            raise UserError(f"model.{name}: {wrong[0]}: its keys are sizes in px; write {', '.join(known)}")
        if wrong := [f"{size}: {value}" for size, value in table.items() if value <= 0]:
            raise UserError(f"model.{name}.{wrong[0]}: must be more than 0")
    if "4" not in batches:
        raise UserError("model.batches: has no entry for 4 px, where growth starts; write for example 4: 128")

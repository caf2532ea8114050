"""ProGAN: Karras et al. 2018, "Progressive growing of GANs for improved quality, stability, and variation"."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from ganlab.augment import Augment
from ganlab.engine.game import GANModule
from ganlab.networks import progressive
from ganlab.objectives import Objective, Wasserstein
from ganlab.regularizers import Drift, GradientPenalty, Regularizer
from ganlab.types import Images, ImageSpec, Labels, Latents, Phase, Precision, UserError

Value = TypeVar("Value", int, float)


class ProgressiveGAN(GANModule):
    """Both networks begin at 4 px and double: `fade_nimg` images fade a size in, `train_nimg` more train it.

    Growth is a function of the images seen, evaluated at the start of a move, so a run resumes in the middle of a fade.
    The reals are faded with the networks, and Adam begins anew at both ends of each fade, as in the paper's code. The
    defaults are that code's for one GPU and 1024 px, in 12 M images; `configs/celeba_hq` has its schedule for eight.
    Deviations: the schedule is evaluated at every move instead of every fourth; both players' images may be mirrored,
    where the code mirrors reals; and the batches of the paper's own runs (16 down to 3, the deviation over the whole
    batch) are no whole groups of 4, so its first schedule is not offered.

    Args:
        image: square, 4, 8, 16, ... 1024 px.
        width_base: channels at a size are `2 * width_base / size`,
        width_max: but at most so many.
        latent: dimensions of the latent.
        conditional: tell the networks the class.
        train_nimg: images at a size once it is there. The last one's training ends with the run.
        fade_nimg: images over which a size is faded in; 4 px is there from the start.
        batches: reals in a discriminator move, by size in px: each holds from that size on. Used by a loader that asks
            for the plan, with `train.batch: null`.
        rate: Adam's learning rate, of both players.
        rate_factors: factors on it, by size: each holds from that size on; 1 before the first.
        betas: Adam's.
        objective: None is Wasserstein's.
        regularizers: None are the paper's: a gradient penalty of weight 10, and drift of weight 0.001.
        ema_decay: what the average keeps at each discriminator move, which comes before the generator's.
        group: consecutive samples, as `GANModule` has it, and those over which the discriminator takes the deviation.

    The other arguments are `GANModule`'s.
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
        batches: Mapping[str, int] | None = None,
        rate: float = 1e-3,
        rate_factors: Mapping[str, float] | None = None,
        betas: tuple[float, float] = (0.0, 0.99),
        objective: Objective | None = None,
        optimizers: Mapping[str, Callable[..., Optimizer]] | None = None,
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = None,
        ema_decay: float = 0.999,
        group: int = 4,
        seed: int = 0,
        attempt: int = 0,
        micro_batch: int | None = None,
        precision: Precision = "fp32",
    ) -> None:
        if wrong := [f"{n}: {v}" for n, v in (("train_nimg", train_nimg), ("fade_nimg", fade_nimg)) if v <= 0]:
            raise UserError(f"model.{', model.'.join(wrong)}: must be more than 0")
        if batches is None:
            batches = {"4": 128, "32": 64, "64": 32, "128": 16, "256": 8, "512": 4}
        if rate_factors is None:
            rate_factors = {"1024": 1.5}
        check_tables(batches, rate_factors)
        adam = partial(Adam, lr=rate, betas=betas)
        paper = {"gradient_penalty": GradientPenalty(weight=10.0), "drift": Drift(weight=0.001)}
        common: dict[str, Any] = {
            "image": image,
            "width_base": width_base,
            "width_max": width_max,
            "conditional": conditional,
        }
        super().__init__(
            image=image,
            generator=progressive.Generator(latent=latent, **common),
            discriminator=progressive.Discriminator(group=group, **common),
            objective=objective or Wasserstein(),
            optimizers=optimizers or {"generator": adam, "discriminator": adam},
            regularizers=paper if regularizers is None else regularizers,
            augment=augment,
            rate_schedule=lambda nimg: by_size({"4": 1.0, **rate_factors}, self.level(nimg)[0]),
            group=group,
            seed=seed,
            attempt=attempt,
            micro_batch=micro_batch,
            precision=precision,
        )
        self.fade_nimg, self.ema_decay = fade_nimg, ema_decay
        self._phases = [
            Phase(
                max(0, number * (train_nimg + fade_nimg) - fade_nimg),
                replace(image, height=size, width=size),
                by_size(batches, size),
            )
            for number, size in enumerate(progressive.sizes_of(image))
        ]

    @property
    def phases(self) -> Sequence[Phase]:
        """One for each size, from the beginning of its fade on."""
        return self._phases

    def level(self, nimg: int) -> tuple[int, float]:
        """Return the size at `nimg`, and the share of it that has been faded in, in [0, 1]."""
        phase = self.plan(nimg)
        share = (nimg - phase.from_nimg) / self.fade_nimg if phase.from_nimg else 1.0
        return phase.image.height, min(share, 1.0)

    def move(self, name: str, real: Images, labels: Labels) -> None:
        """Make one move at the level of its start; reals larger than its size are shrunk by averages first."""
        size, alpha = self._grow()
        if name == "discriminator":
            real = self._as_seen(real, size, alpha)
        super().move(name, real, labels)
        new_size, new_alpha = self.level(self.clock.nimg)
        if (size, alpha < 1) != (new_size, new_alpha < 1):
            self.renew()

    def averaged(self, latents: Latents, labels: Labels) -> Images:
        """Run the averaged generator at the level of now; its pixels are repeated up to the full size."""
        self._grow()
        return F.interpolate(super().averaged(latents, labels), size=(self.image.height, self.image.width))

    def ema_weight(self, name: str, batch: int) -> float:
        """Return what the live generator weighs in its average: it is averaged with the discriminator's moves."""
        return 1 - self.ema_decay if name == "discriminator" else 0.0

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
    """Return what a table says of a size: its entry for the largest size that is not above this one."""
    return table[str(max(int(key) for key in table if int(key) <= size))]


def check_tables(batches: Mapping[str, int], rate_factors: Mapping[str, float]) -> None:
    """Refuse sizes that there are not, and batches that begin nowhere."""
    known = [str(2**power) for power in range(2, 11)]
    for name, table in (("batches", batches), ("rate_factors", rate_factors)):
        if wrong := [size for size in table if size not in known]:
            raise UserError(f"model.{name}: {wrong[0]}: its keys are sizes in px; write {', '.join(known)}")
        if wrong := [f"{size}: {value}" for size, value in table.items() if value <= 0]:
            raise UserError(f"model.{name}.{wrong[0]}: must be more than 0")
    if "4" not in batches:
        raise UserError("model.batches: says nothing of 4 px, where growth begins; write for example 4: 128")

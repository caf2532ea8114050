"""ALI: Dumoulin et al. 2017, "Adversarially learned inference"."""

from collections.abc import Mapping

from torch import Tensor

from ganlab.engine.averages import RAMPED
from ganlab.engine.batch import Batch
from ganlab.engine.runtime import Runtime
from ganlab.models.bigan import BiGAN
from ganlab.networks import ali
from ganlab.priors import Normal
from ganlab.regularizers import Regularizer
from ganlab.schedules import Schedule
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, Labels, Latents


class ALI(BiGAN):
    """BiGAN with an encoder that draws its codes, convolutions, and codes that are normal (section 2, algorithm 1).

    The paper sums the terms that BiGAN halves: the same steps under Adam. Its discriminator has dropout, this one none.
    """

    BATCH = 100

    def __init__(
        self,
        *,
        image: ImageSpec,
        width: int = 32,
        latent: int = 64,
        batch_norm_group: int | None = None,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        lr_schedule: Schedule | None = None,
        regularizers: Mapping[str, Regularizer] | None = None,
        ema_half_life: float | Schedule = RAMPED,
        runtime: Runtime = Runtime(),
    ) -> None:
        super().__init__(
            image=image,
            generator=ali.Generator(image=image, width=width, latent=latent, norm_group=batch_norm_group),
            encoder=ali.Encoder(image=image, width=width, latent=latent, norm_group=batch_norm_group),
            discriminator=ali.Discriminator(image=image, width=width, latent=latent),
            prior=Normal(dims=latent),
            lr=lr,
            betas=betas,
            weight_decay=0.0,
            lr_schedule=lr_schedule,
            regularizers=regularizers,
            ema_half_life=ema_half_life,
            runtime=runtime,
        )

    def codes(self, batch: Batch) -> Latents:
        """E(x) = mean + deviation * noise."""
        mean, log_std = self.call(self.encoder, batch.real)
        return mean + log_std.exp() * batch["noise"]  # type: ignore[no-any-return]

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw the noise of the codes too, the same for both players."""
        return super().draw(player, n, noise, labels) | {"noise": noise.normal("pair noise", n, self.latent)}

"""A prior shaped by classes: Makhzani et al. 2016, "Adversarial autoencoders", section 2.3."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ganlab.engine.batch import Batch
from ganlab.models.autoencoder import AdversarialAutoencoder
from ganlab.networks.conditioning import learned_classes
from ganlab.priors import Parted
from ganlab.seeding import Noise
from ganlab.types import ImageSpec, Labels, Latents, Logits, UserError


class ShapedAutoencoder(AdversarialAutoencoder):
    """An adversarial autoencoder that puts each class of images into its own part of the prior.

    The critic is also told the class, of a real image and of a code from that class's part. Images without a class are
    told as one class more, whose codes are from the whole prior. Encoder and decoder are told nothing.
    """

    LEARNS_CLASSES: ClassVar[tuple[str, ...]] = ("real",)

    def judged_dims(self, image: ImageSpec) -> int:
        """Those of a code and of its class, one-hot."""
        classes = learned_classes(image)
        if not isinstance(self.prior, Parted) or self.prior.parts != classes:
            raise UserError(
                f"model.prior: {self.prior}: the data have {classes} classes, each of which needs a part of the prior; "
                f"write ganlab.priors.Mixture with modes: {classes}, or ganlab.priors.SwissRoll with parts: {classes}"
            )
        return self.prior.dims + classes + 1

    def verdict(self, codes: Latents, batch: Batch) -> Logits:
        """Run the critic on codes and the classes of the reals."""
        labels, classes = batch.labels, self.image.classes
        told = one_hot(torch.where(labels < 0, classes, labels), classes + 1).to(codes.dtype)
        return self.call(self.critic, torch.cat([codes, told], 1))  # type: ignore[no-any-return]

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw codes from the parts of the reals' classes."""
        assert isinstance(self.prior, Parted)
        parts = torch.where(labels < 0, noise.classes(f"{player} parts", n, self.prior.parts), labels)
        return {"latents": self.prior.draw_parts(f"{player} latents", parts, noise)}

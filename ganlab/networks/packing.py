"""Packing (Lin et al. 2018, "PacGAN"): a discriminator judges several samples of one kind together."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from ganlab.layers.groups import group_of
from ganlab.types import Images, ImageSpec, Labels, Logits, UserError


class Packed(nn.Module):
    """A discriminator of packs: its channels are those of `packing` consecutive images, all real or all generated.

    A generator that has lost modes makes packs too much alike, which shows more clearly than in one sample. Each image
    gets the logit of its pack.

    Args:
        image: of one sample; the discriminator is built for that many times its channels.
        discriminator: any unconditional one.
        packing: images in a pack; it must divide `train.group`.
    """

    classes = 0

    def __init__(self, *, image: ImageSpec, discriminator: Callable[..., nn.Module], packing: int = 2) -> None:
        super().__init__()
        if packing < 1:
            raise UserError(f"model.discriminator.packing: {packing}: write at least 1")
        self.packing = packing
        self.discriminator = discriminator(image=replace(image, channels=packing * image.channels))
        if self.discriminator.classes:
            raise UserError("model.discriminator: the images of a pack are of several classes; make it unconditional")
        self.group = packing * group_of(self.discriminator)

    def forward(self, images: Images, labels: Labels) -> Logits:
        """Return the logit of each image's pack."""
        packs = images.unflatten(0, (-1, self.packing)).flatten(1, 2)  # packs, packing * c, h, w
        logits: Logits = self.discriminator(packs, labels[:: self.packing])
        return logits.repeat_interleave(self.packing)

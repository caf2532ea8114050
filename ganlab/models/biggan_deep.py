"""BigGAN-deep: Brock et al. 2019, appendix B."""

from typing import Any, ClassVar

from ganlab.models.biggan import BigGAN
from ganlab.networks import biggan_deep


class BigGANDeep(BigGAN):
    """BigGAN with bottleneck blocks: deeper, with fewer parameters, and the whole latent in every block.

    The arguments are BigGAN's, and so are the paper's values at 128 px but those of the networks; above, both learning
    rates are 2.5e-5.
    """

    architecture: ClassVar[Any] = biggan_deep

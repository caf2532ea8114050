"""Types of tensors with their shapes, for the interfaces between packages; the tests check them."""

from jaxtyping import Float, Int, UInt8
from torch import Tensor

Images = Float[Tensor, "n channels height width"]
"""Images in [-1, 1]."""
Latents = Float[Tensor, "n latent"]
Labels = Int[Tensor, " n"]
"""Classes as int64, -1 for none."""
Logits = Float[Tensor, " n"]
Scores = Float[Tensor, "n *features"]
"""What a discriminator says of each sample: a logit [n], or features [n, k] for objectives that match them."""
PerSample = Float[Tensor, " n"]
"""One number per sample: a loss or a penalty before averaging."""
Pixels = UInt8[Tensor, "n channels height width"]
"""Images as bytes."""
Features = Float[Tensor, "_ dims"]
"""Features of images from an extractor."""
Vectors = Float[Tensor, "n dims"]
"""Numbers that the data hold for each sample."""

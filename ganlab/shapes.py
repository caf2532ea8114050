"""The shapes of tensors that cross borders between rooms of the house; the tests check them."""

from jaxtyping import Float, Int, UInt8
from torch import Tensor

Images = Float[Tensor, "n channels height width"]
"""Images in [-1, 1]."""
Latents = Float[Tensor, "n latent"]
Labels = Int[Tensor, " n"]
"""Classes as int64, -1 where there is none."""
Logits = Float[Tensor, " n"]
PerSample = Float[Tensor, " n"]
"""One number a sample: a loss or a penalty before its mean is taken."""
Pixels = UInt8[Tensor, "n channels height width"]
"""Images as bytes."""
Features = Float[Tensor, "_ dims"]
"""What an extractor makes of images."""

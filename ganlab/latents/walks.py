"""Ways between latents."""

import torch
from torch import Tensor

STRAIGHT = 1e-3
"""Sine of the angle below which an arc is a straight line, to rounding."""


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Interpolate between vectors [..., d] on the great circle: the length of a normal latent hardly varies.

    A chord would pass the sphere's inside, where a generator was never trained (Shoemake 1985).

    Args:
        a, b: where the way begins and ends.
        share: of the way, broadcast against a's first dimensions with one more for d.
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1)[..., None]
    angle = cosine.acos()
    sine = angle.sin()
    arc = (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / sine.clamp(min=STRAIGHT)
    return torch.where(sine < STRAIGHT, torch.lerp(a, b, share.to(a.dtype)), arc)


def steps_between(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Return `steps` vectors [steps, ..., d] from a [..., d] to b; the first is a, the last b."""
    shares = torch.linspace(0, 1, steps, dtype=a.dtype).view(-1, *[1] * a.ndim)
    return slerp(a.expand(steps, *a.shape), b.expand(steps, *b.shape), shares)


def closed(keys: Tensor, steps: int) -> Tensor:
    """Return the vectors [k * steps, ..., d] of a walk along keys [k, ..., d] and back to the first, in equal steps.

    Key i is vector i * steps; after the last vector comes the first.
    """
    ways = zip(keys, keys.roll(-1, 0), strict=True)
    return torch.cat([steps_between(a, b, steps + 1)[:-1] for a, b in ways])

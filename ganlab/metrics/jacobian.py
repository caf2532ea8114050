"""The conditioning of a generator: how unequally its directions move an image."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp

from ganlab.types import Latents, PerSample


def jacobians(generate: Callable[[Latents], Tensor], latents: Latents) -> Tensor:
    """Return the Jacobian [n, outputs, latent] of each sample, by one forward-mode pass per dimension of the latent.

    `generate` maps latents to images sample by sample: in evaluation mode, without batch statistics.
    """
    columns = []
    for number in range(latents.shape[1]):
        direction = torch.zeros_like(latents)
        direction[:, number] = 1
        columns.append(jvp(generate, (latents,), (direction,))[1].flatten(1))
    return torch.stack(columns, -1)


def log_condition_numbers(generate: Callable[[Latents], Tensor], latents: Latents) -> PerSample:
    """Return the log condition number of J^T J, 2 log(s_max / s_min), for each sample (Odena et al. 2018, section 3).

    With fewer outputs than latents, as of points, it is that of J J^T: of the directions that can move them at all.
    Infinite where one cannot.
    """
    with torch.no_grad():
        singular: Tensor = torch.linalg.svdvals(jacobians(generate, latents).double())  # n min(outputs, latent)
    return 2 * (singular[:, 0] / singular[:, -1]).log()

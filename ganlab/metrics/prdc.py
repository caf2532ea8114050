"""Precision, recall, density and coverage: fidelity and diversity separately, by nearest neighbours."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ganlab.types import Features

ELEMENTS = 2**24
"""Distances held at once: 128 MiB, whatever the number of images."""


def precision_recall_density_coverage(
    fake: Features, real: Features, *, neighbours: int = 3, neighbours_dc: int = 5
) -> dict[str, float]:
    """Compare two sets by balls around each sample, with the distance to its k-th nearest neighbour as radius.

    Precision: the share of fakes in some real's ball; recall: of reals in some fake's (Kynkäänniemi et al. 2019, eq. 1
    and 2; k = 3). Density: how many reals' balls a fake lies in, over k; coverage: the share of reals whose ball holds
    a fake (Naeem et al. 2020, eq. 4 and 5; k = 5).
    """
    real_radii, real_radii_dc = radii_of(real, neighbours, neighbours_dc)
    (fake_radii,) = radii_of(fake, neighbours)
    precise, held = [], []
    recalled = torch.zeros_like(real_radii, dtype=torch.bool)
    nearest_fake = torch.full_like(real_radii, torch.inf)
    for start, distances in distances_in_rows(fake, real):
        precise.append((distances <= real_radii).any(1))
        held.append((distances <= real_radii_dc).sum(1))
        recalled |= (distances <= fake_radii[start : start + len(distances), None]).any(0)
        nearest_fake = torch.minimum(nearest_fake, distances.min(0).values)
    return {
        "precision": float(torch.cat(precise).double().mean()),
        "recall": float(recalled.double().mean()),
        "density": float(torch.cat(held).double().mean() / neighbours_dc),
        "coverage": float((nearest_fake <= real_radii_dc).double().mean()),
    }


def radii_of(features: Features, *ks: int) -> list[Tensor]:
    """Return, for each k, every sample's distance [n] to its k-th nearest neighbour other than itself."""
    radii = []
    for start, distances in distances_in_rows(features, features):
        rows = torch.arange(len(distances), device=distances.device)
        distances[rows, rows + start] = torch.inf
        radii.append(distances.topk(max(ks), largest=False).values)
    nearest_first = torch.cat(radii)  # n max(ks)
    return [nearest_first[:, k - 1] for k in ks]


def nearest(queries: Features, features: Features, k: int) -> tuple[Tensor, Tensor]:
    """Return the distances to, and the numbers of, each query's k nearest neighbours, both [n, k], nearest first."""
    found = [distances.topk(k, largest=False) for _, distances in distances_in_rows(queries, features)]
    return torch.cat([item.values for item in found]), torch.cat([item.indices for item in found])


def distances_in_rows(a: Features, b: Features) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, Euclidean distances [rows, m] in float64), so many rows at a time as memory allows."""
    b = b.double()
    rows = max(1, ELEMENTS // len(b))
    for start in range(0, len(a), rows):
        yield start, torch.cdist(a[start : start + rows].double(), b)

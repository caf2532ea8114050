"""What every network is told of the classes, and how."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ganlab.types import Images, ImageSpec, Labels, UserError


def classes_of(image: ImageSpec, conditional: bool) -> int:
    """Return the number of classes that a network is conditioned on; 0 unless it is conditional."""
    if conditional and not image.classes:
        raise UserError(
            "a conditional model needs labels and the data have none; "
            "set model.conditional=false or choose a model without classes, "
            "or pack the data from class folders or with a dataset.json"
        )
    return image.classes if conditional else 0


def learned_classes(image: ImageSpec, data: str = "data") -> int:
    """Return the number of classes that a model learns from the images of `data`; UserError if they have none."""
    if not image.classes:
        raise UserError(
            f"{data}.url: its images have no classes, from which this model learns; choose a model without classes, "
            "or pack the data from class folders or with a dataset.json"
        )
    return image.classes


def with_planes(images: Images, labels: Labels, classes: int) -> Tensor:
    """Concatenate the one-hot class as planes: [n, c, h, w] to [n, c + classes, h, w] (Mirza & Osindero 2014)."""
    planes = one_hot(labels, classes).to(images.dtype)[:, :, None, None].expand(-1, -1, *images.shape[2:])
    return torch.cat([images, planes], dim=1)

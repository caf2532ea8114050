"""A linear probe: how well features separate the classes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ganlab.types import Features

PENALTY = 1e-3
"""Weight of the squared weights; the features have mean 0 and deviation 1."""


def probe_accuracy(
    train: Features, train_labels: Tensor, test: Features, test_labels: Tensor, *, classes: int
) -> float:
    """Train a logistic regression on features [n, d] and return its accuracy on others; labels [n].

    Trained on fakes and tested on reals it is a classification accuracy score in the sense of Ravuri & Vinyals 2019,
    with a linear probe on an extractor's features instead of their ResNet: values are comparable among themselves, not
    with the paper's. On a discriminator's features it is the probe of Radford et al. 2016, section 5.1.
    """
    deviation, mean = torch.std_mean(train.double(), 0)
    train, test = ((x.double() - mean) / deviation.clamp_min(1e-6) for x in (train, test))
    weight = torch.zeros(train.shape[1], classes, dtype=torch.float64, device=train.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, device=train.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(train @ weight + bias, train_labels) + PENALTY * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return float(((test @ weight + bias).argmax(1) == test_labels).double().mean())

"""The inception score: high if each image is clearly of one class and all classes occur."""

import math

import torch

from ganlab.types import Features


def inception_score(logits: Features, splits: int = 10) -> tuple[float, float]:
    """Return mean and standard deviation, over consecutive splits, of exp E[KL(p(y|x) || p(y))].

    Salimans et al. 2016, section 4. `logits` [n, classes] are a classifier's, or log probabilities.
    """
    scores = []
    for log_p in logits.double().log_softmax(1).tensor_split(splits):
        log_mean = log_p.logsumexp(0) - math.log(len(log_p))
        scores.append((log_p.exp() * (log_p - log_mean)).sum(1).mean().exp())
    found = torch.stack(scores)
    return float(found.mean()), float(found.std(correction=0))

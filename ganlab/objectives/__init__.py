"""Adversarial losses: one method per player, one number per sample."""

from ganlab.objectives.base import Objective
from ganlab.objectives.divergences import FDivergence
from ganlab.objectives.kernels import DistanceKernel, GaussianKernel, Kernel, RationalQuadraticKernel
from ganlab.objectives.logits import Hinge, LeastSquares, Minimax, NonSaturating, Wasserstein
from ganlab.objectives.moments import MMD, FeatureMatching, RepulsiveMMD
from ganlab.objectives.patches import OfPatches
from ganlab.objectives.ratios import RatioMatching
from ganlab.objectives.relativistic import RelativisticAverage, RelativisticPaired

__all__ = [
    "MMD",
    "DistanceKernel",
    "FDivergence",
    "FeatureMatching",
    "GaussianKernel",
    "Hinge",
    "Kernel",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "Objective",
    "OfPatches",
    "RatioMatching",
    "RationalQuadraticKernel",
    "RelativisticAverage",
    "RelativisticPaired",
    "RepulsiveMMD",
    "Wasserstein",
]

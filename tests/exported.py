"""Models with weights that make pictures of some contrast, to be exported without a run."""

import torch
from by_hand import Paper

from ganlab.engine.game import Game
from ganlab.experiment.frame import Config, Data, Train
from ganlab.portable.parcel import Parcel, in_float32

NAMES = ("cat", "hawk, red-tailed", '<b>&"ox')
"""Of three classes, one of them hostile to a page."""


def contrasted(model: Game, gain: float = 1.5) -> Game:
    """Give every average weights like those after training: with the first ones, images are grey all over."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for network in model.averaged_networks:
            for weight in network.parameters():
                fan = max(weight[0].numel(), 1) if weight.ndim > 1 else 25
                weight.copy_(gain * torch.randn(weight.shape, generator=draw) / fan**0.5 + (weight.ndim == 1) * weight)
    return model.eval()


def made(paper: Paper) -> Game:
    """The game of a paper, which trained in float64, as it travels, with such weights."""
    return contrasted(in_float32(paper.made()))


def parcel(model: Game, name: str = "mine") -> Parcel:
    """What is sent of a model that has no run."""
    return Parcel(model, Config(run="", model={}, data=Data(url=""), train=Train(total_nimg=1)), name, "mit", [])

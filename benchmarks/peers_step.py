"""One step beside torch-mimicry's: SN-GAN and projection from equal weights, on one equal batch, in float64.

Mimicry's networks are changed to those of the paper's code (`trainers.CHANGES`): in all ways, in all but one, in none.
Prints how far each player's loss and gradient are then from ours, relative to ours; where all is changed they must
agree, or it ends with 1. Sigma is exact on both sides. How to install mimicry: `trainers.py`.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest.mock import MagicMock

import torch
from peers_learning import GAMES, REPOSITORY
from torch import Tensor, nn
from torch.optim import SGD
from trainers import CHANGES, Batches, Mimicry, zero_biases

from ganlab.engine.batch import Batch
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.layers.spectral import SpectralNorm
from ganlab.models import GANModule

WIDTH, SAMPLES, AGREES = 16, 16, 1e-10
PARTS = {"conv1": "c1", "conv2": "c2", "shortcut": "c_sc", "norm1": "b1", "norm2": "b2", "embedding": "l_y"}
"""Our names of layers, and mimicry's."""
LAST = {"generator": {"linear": "l1", "norm": "b5", "output": "c5"}, "discriminator": {"linear": "l5"}}
FIRST_BLOCK = {"generator": 2, "discriminator": 1}
OF_A_STEP = [name for name, change in CHANGES.items() if change is not zero_biases]
"""The other is in the weights, which are equal here."""


def ours(game: str) -> GANModule:
    """Return our game; all its weights are random, so that none can be forgotten, and sigma is exact."""
    widths = [f"model.generator_width={WIDTH}", f"model.discriminator_width={WIDTH}"]
    rest = ["model.generator_batch=1.0", "machine.precision=fp64", f"train.batch={SAMPLES}", "run=none"]
    model: GANModule = build_model(load(REPOSITORY / "configs" / GAMES[game][1], [*widths, *rest])).double()
    for weight in model.parameters():
        weight.data += 0.03 * torch.randn_like(weight)
    for layer in model.discriminator.modules():
        if hasattr(layer, "parametrizations"):
            (norm,) = layer.parametrizations["weight"]
            assert isinstance(norm, SpectralNorm)
            left, _, right = torch.linalg.svd(layer.parametrizations["weight"].original.movedim(1, -1).flatten(1))
            norm.u.copy_(left[:, 0]), norm.v.copy_(right[0])
    return model


def as_theirs(player: str, of: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield in mimicry's names and forms what one of our networks has by the names of its weights."""
    of = {name.replace("parametrizations.weight.original", "weight"): tensor for name, tensor in of.items()}
    names = PARTS | LAST[player]
    for name, tensor in of.items():
        *block, layer, kind = name.removeprefix("blocks.").split(".")
        place = ".".join([*(f"block{int(number) + FIRST_BLOCK[player]}" for number in block), names[layer]])
        if player == "generator" and layer == "linear":  # ours makes the first map channels last
            tensor = tensor.unflatten(0, (16, -1)).transpose(0, 1).flatten(0, 1)
        if kind == "weight" and "norm" in layer and tensor.ndim == 2:  # mimicry has gains and biases in one table
            yield f"{place}.embed.weight", torch.cat([tensor, of[name.replace("weight", "bias")]], 1)
        elif not ("norm" in layer and tensor.ndim == 2):
            yield f"{place}.{kind}", tensor


def theirs(game: str, model: GANModule, changes: list[str], batch: Batch) -> Mimicry:
    """Return mimicry's game with our weights, whose generator has the batch's latents."""
    peer = Mimicry(GAMES[game][0], WIDTH, 1, Batches(batch.real, batch.labels, SAMPLES), Path())
    for change in changes:
        CHANGES[change](peer)
    for player in LAST:
        network = getattr(peer, player).double()
        weights = {name.removesuffix("_orig"): weight for name, weight in network.named_parameters()}
        given = dict(as_theirs(player, dict(getattr(model, player).named_parameters())))
        if player == "discriminator":
            weights.pop("l5.bias").data.zero_()  # the paper's code has none
        assert weights.keys() == given.keys()
        for name, weight in weights.items():
            weight.data.copy_(given[name])
    for layer in peer.discriminator.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            left, _, right = torch.linalg.svd(getattr(layer, "weight_orig", layer.weight).detach().flatten(1))
            if hasattr(layer, "weight_u"):
                layer.weight_u.copy_(left[:, 0]), layer.weight_v.copy_(right[0])
            else:
                layer.sn_u.copy_(left[:, :1].T)
    labels = [batch.fake_labels] * (game == "projection")
    peer.generator.generate_images = lambda *_, **__: peer.generator(batch.latents)
    peer.generator.generate_images_with_labels = lambda *_, **__: (peer.generator(batch.latents, *labels), *labels)
    return peer


def step_of_theirs(peer: Mimicry, player: str, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    """Return the loss and the gradients that mimicry's own step computes."""
    network, log = getattr(peer, player), MagicMock()
    given = {"netG": peer.generator, "netD": peer.discriminator}
    optimizer = SGD(network.parameters(), 0.0)
    network.train_step((batch.real, batch.labels), **given, optD=optimizer, optG=optimizer, log_data=log)
    gradients = {name.removesuffix("_orig"): w.grad for name, w in network.named_parameters() if name != "l5.bias"}
    told = {call.args[0]: call.args[1] for call in log.add_metric.call_args_list}
    loss = torch.as_tensor(told["errD" if player == "discriminator" else "errG"], dtype=torch.float64)
    return float(loss.detach()), gradients


def step_of_ours(model: GANModule, player: str, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    """Return our loss and gradients, in mimicry's names and forms."""
    model.require_gradients([player])
    found = model.forward(player, batch)
    terms, _ = found if isinstance(found, tuple) else (found, {})
    loss = torch.stack(list(terms.values())).sum() / SAMPLES
    names, weights = zip(*getattr(model, player).named_parameters(), strict=True)
    gradients = dict(zip(names, torch.autograd.grad(loss, weights), strict=True))
    return float(loss.detach()), dict(as_theirs(player, gradients))


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the norm of the difference of two gradients, relative to the first."""
    difference = sum((one[name] - other[name]).square().sum() for name in one)
    return float((difference / sum(gradient.square().sum() for gradient in one.values())) ** 0.5)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| game | mimicry's networks | loss of D | gradient of D | loss of G | gradient of G |")
    print("|---|---|---|---|---|---|")
    failed = False
    for game in GAMES:
        model = ours(game)
        labels = torch.arange(2 * SAMPLES).unflatten(0, (2, -1)) % 10
        real = torch.rand(SAMPLES, 3, 32, 32, dtype=torch.float64) * 2 - 1
        latents = torch.randn(SAMPLES, 128, dtype=torch.float64)
        batch = Batch({"real": real, "labels": labels[0], "latents": latents, "fake_labels": labels[1]})
        found = {player: step_of_ours(model, player, batch) for player in ("discriminator", "generator")}
        rows = {"all changed": OF_A_STEP}
        rows |= {f"all but: {name}": [other for other in OF_A_STEP if other != name] for name in OF_A_STEP}
        for told, changes in {**rows, "as they are": []}.items():
            peer, cells = theirs(game, model, changes, batch), []
            peer.discriminator.eval()  # its vectors stay: sigma is exact
            for player, (loss, gradients) in found.items():
                other, others = step_of_theirs(peer, player, batch)
                cells += [abs(other - loss) / abs(loss), apart(gradients, others)]
            print(f"| {game} | {told} | " + " | ".join(f"{cell:.1e}" for cell in cells) + " |")
            failed |= told == "all changed" and max(cells) > AGREES
    sys.exit(failed)


if __name__ == "__main__":
    main()

"""Steps beside torch-mimicry's: SN-GAN and projection from equal weights, on equal batches, in float64.

Mimicry's networks are changed to those of the paper's code (`trainers.CHANGES`): in all ways, in all but one, in none.
Prints how far each player's loss and gradient are then from ours, relative to ours; and, all changed, how far apart the
weights are after 20 rounds of our game and of mimicry's own trainer, at a constant rate. Where all is changed they must
agree, or it ends with 1. Sigma is exact on both sides. How to install mimicry: `trainers.py`.
"""

import io
import itertools
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from peers_learning import GAMES, REPOSITORY
from torch import Tensor, nn
from torch.optim import SGD
from trainers import CHANGES, Batches, Mimicry, zero_biases

from ganlab.engine.batch import Batch
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.models import GANModule

WIDTH, SAMPLES, D_STEPS, LR, ROUNDS, AGREES = 16, 16, 2, 5e-4, 20, 1e-10
PARTS = {"conv1": "c1", "conv2": "c2", "shortcut": "c_sc", "norm1": "b1", "norm2": "b2", "embedding": "l_y"}
"""Our names of layers, and mimicry's."""
LAST = {"generator": {"linear": "l1", "norm": "b5", "output": "c5"}, "discriminator": {"linear": "l5"}}
FIRST_BLOCK = {"generator": 2, "discriminator": 1}
OF_A_STEP = [name for name, change in CHANGES.items() if change is not zero_biases]
"""The other is in the weights, which are equal here."""


def ours(game: str) -> GANModule:
    """Return our game; all its weights are random, so that none can be forgotten."""
    widths = [f"model.generator_width={WIDTH}", f"model.discriminator_width={WIDTH}"]
    equal = ["model.generator_batch=1.0", f"model.discriminator_steps={D_STEPS}", f"model.lr={LR}"]
    rest = ["model.lr_schedule=null", "machine.precision=fp64", f"train.batch={SAMPLES}", "run=none"]
    model: GANModule = build_model(load(REPOSITORY / "configs" / GAMES[game][1], [*widths, *equal, *rest])).double()
    for weight in model.parameters():
        weight.data += 0.03 * torch.randn_like(weight)
    return model


@torch.no_grad()
def sharpen(discriminator: nn.Module) -> None:
    """Set the singular vectors of a discriminator's normalised weights, ours or mimicry's, so that sigma is exact."""
    for layer in discriminator.modules():
        if hasattr(layer, "parametrizations"):
            weights = layer.parametrizations["weight"]
            left, _, right = torch.linalg.svd(weights.original.movedim(1, -1).flatten(1), full_matrices=False)
            weights[0].u.copy_(left[:, 0]), weights[0].v.copy_(right[0])
        elif hasattr(layer, "weight_u"):  # torch's former spectral norm
            left, _, right = torch.linalg.svd(layer.weight_orig.flatten(1), full_matrices=False)
            layer.weight_u.copy_(left[:, 0]), layer.weight_v.copy_(right[0])
        elif hasattr(layer, "sn_u"):
            layer.sn_u.copy_(torch.linalg.svd(layer.weight, full_matrices=False)[0][:, :1].T)


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


def theirs(game: str, model: GANModule, changes: Iterable[str], batches: Batches) -> Mimicry:
    """Return mimicry's game with our weights."""
    peer = Mimicry(GAMES[game][0], WIDTH, D_STEPS, batches, Path(), lr=LR)
    for change in changes:
        CHANGES[change](peer)
    for network in peer.networks():
        network.double()
    peer.discriminator.l5.bias.data.zero_()  # the paper's code has none
    peer.discriminator.l5.bias.requires_grad_(False)
    for player in LAST:
        given = dict(as_theirs(player, dict(getattr(model, player).named_parameters())))
        for name, weight in weights_of(peer, player).items():
            weight.data.copy_(given.pop(name))
        assert not given
    peer.discriminator.eval()  # its singular vectors stay
    return peer


def weights_of(peer: Mimicry, player: str) -> dict[str, Tensor]:
    """Return the weights of one of mimicry's networks by name, without its discriminator's last bias."""
    named = getattr(peer, player).named_parameters()
    return {name.removesuffix("_orig"): weight for name, weight in named if name != "l5.bias"}


def feed(peer: Mimicry, game: str, drawn: Iterator[Batch]) -> None:
    """Let the generator have the latents, and labels, of these batches one after the other."""

    def generate(*_: object, **__: object) -> Tensor | tuple[Tensor, Tensor]:
        batch = next(drawn)
        if game == "projection":
            return peer.generator(batch.latents, batch.fake_labels), batch.fake_labels
        return peer.generator(batch.latents)

    peer.generator.generate_images = peer.generator.generate_images_with_labels = generate


def step_of_theirs(peer: Mimicry, player: str, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    """Return the loss and the gradients that mimicry's own step computes."""
    network, log = getattr(peer, player), MagicMock()
    given = {"netG": peer.generator, "netD": peer.discriminator}
    optimizer = SGD(network.parameters(), 0.0)
    network.train_step((batch.real, batch.labels), **given, optD=optimizer, optG=optimizer, log_data=log)
    gradients = {name: weight.grad for name, weight in weights_of(peer, player).items()}
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


def first_step(game: str, reals: Batches) -> float:
    """Print a game's rows of the table; return the largest number of the first."""
    model, labels = ours(game), torch.arange(SAMPLES).flip(0) % 10
    real, its_labels = next(iter(reals))
    latents = torch.randn(SAMPLES, 128, dtype=torch.float64)
    batch = Batch({"real": real, "labels": its_labels, "latents": latents, "fake_labels": labels})
    sharpen(model.discriminator)
    found = {player: step_of_ours(model, player, batch) for player in ("discriminator", "generator")}
    rows = {"all changed": OF_A_STEP}
    rows |= {f"all but: {name}": [other for other in OF_A_STEP if other != name] for name in OF_A_STEP}
    worst = []
    for told, changes in {**rows, "as they are": []}.items():
        peer, cells = theirs(game, model, changes, reals), []
        sharpen(peer.discriminator)
        feed(peer, game, itertools.repeat(batch))
        for player, (loss, gradients) in found.items():
            other, others = step_of_theirs(peer, player, batch)
            cells += [abs(other - loss) / abs(loss), apart(gradients, others)]
        print(f"| {game} | {told} | " + " | ".join(f"{cell:.1e}" for cell in cells) + " |", flush=True)
        worst.append(max(cells))
    return worst[0]


def before(act: Callable[..., Any], first: Callable[[], object]) -> Callable[..., Any]:
    """Return a function that does something else first."""

    def both(*given: Any, **named: Any) -> Any:
        first()
        return act(*given, **named)

    return both


def rounds(game: str, reals: Batches) -> float:
    """Play both games; return the largest difference of weights, but of those that batch norm makes meaningless."""
    model, drawn = ours(game), list[Batch]()
    peer = theirs(game, model, CHANGES, reals)
    model.configure_optimizers()
    run_step = model.run_step

    def step(name: str, batch: Batch) -> Any:
        drawn.append(batch)
        sharpen(model.discriminator)
        return run_step(name, batch)

    model.run_step = step
    for number, batch in zip(range(ROUNDS * D_STEPS), reals, strict=False):
        model.training_step(batch, number)
    feed(peer, game, iter(drawn))
    for network in peer.networks():
        network.train_step = before(network.train_step, partial(sharpen, peer.discriminator))
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        peer.folder = Path(folder)
        peer.train(ROUNDS)
    worst = 0.0
    for player in LAST:
        mine = dict(as_theirs(player, dict(getattr(model, player).named_parameters())))
        for name, weight in weights_of(peer, player).items():
            before_norm = player == "generator" and re.fullmatch(r"block.*\.c.*bias", name)  # no gradient, but rounding
            worst = max(worst, 0.0 if before_norm else float((weight - mine[name]).detach().abs().max()))
    return worst


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.rand(SAMPLES * ROUNDS * D_STEPS, 3, 32, 32, dtype=torch.float64) * 2 - 1
    labels = torch.arange(len(images)) % 10
    print("| game | mimicry's networks | loss of D | gradient of D | loss of G | gradient of G |")
    print("|---|---|---|---|---|---|")
    worst = [first_step(game, Batches(images, labels, SAMPLES)) for game in GAMES]
    for game in GAMES:
        with redirect_stdout(io.StringIO()):
            worst.append(rounds(game, Batches(images, labels, SAMPLES)))
        print(
            f"{game}, {ROUNDS} rounds of {D_STEPS} + 1 steps: weights are apart by at most {worst[-1]:.1e}", flush=True
        )
    sys.exit(max(worst) > AGREES)


if __name__ == "__main__":
    main()

"""Dynamics on games of two parameters: rates, eigenvalues, the unroll's gradient, and the bias of consensus.

The bilinear game min_theta max_psi theta psi has step h = 0.1 and starts at (1, 1). Rates are factors on |w| per round,
from the linear map that a round is, which is measured by its images of the unit vectors.
"""

import math
from collections.abc import Iterator
from functools import partial

import torch
from rows import Row
from torch import Tensor
from torch.optim import SGD

from ganlab.engine.dynamics import (
    Alternating,
    Consensus,
    Dynamics,
    Extragradient,
    Simultaneous,
    SymplecticAdjustment,
    Unrolled,
)
from ganlab.engine.dynamics.field import Field, field_of, one_batch
from ganlab.engine.runtime import Runtime
from ganlab.metrics.spectrum import eigenvalues, jacobian
from ganlab.models import GANModule
from ganlab.networks import dirac
from ganlab.objectives import NonSaturating, Objective, Wasserstein
from ganlab.regularizers import R1, Regularizer
from ganlab.types import ImageSpec

H, POINT, EXACT = 0.1, ImageSpec(1, 1, 1), 1e-8
REALS = {"real": torch.zeros(2, 1, 1, 1, dtype=torch.float64), "labels": torch.full((2,), -1)}
RATES: dict[str, tuple[Dynamics, float, str]] = {
    "simultaneous": (Simultaneous(), math.sqrt(1 + H**2), "sqrt(1 + h^2)"),
    "alternating": (Alternating(), 1.0, "1"),
    "extragradient": (Extragradient(), math.sqrt((1 - H**2) ** 2 + H**2), "sqrt((1 - h^2)^2 + h^2)"),
    "consensus, gamma 1": (Consensus(gamma=1.0), abs(complex(1 - H, H)), "abs(1 - h + ih)"),
    "consensus, gamma 10": (Consensus(gamma=10.0), abs(complex(0, H)), "abs(1 - 10 h + ih)"),
    "symplectic adjustment": (SymplecticAdjustment(), abs(complex(1 - H, H)), "abs(1 - h + ih)"),
    "unrolled, K = 0": (Unrolled(steps=0), math.sqrt(1 + H**2), "sqrt(1 + h^2)"),
    "unrolled, K = 1": (Unrolled(steps=1), math.sqrt(1 - H**2), "sqrt(1 + h^2 - 2 K h^2)"),
    "unrolled, K = 5": (Unrolled(steps=5), math.sqrt(1 - 9 * H**2), "sqrt(1 + h^2 - 2 K h^2)"),
}


def game(
    dynamics: Dynamics | None = None,
    start: tuple[float, float] = (1.0, 1.0),
    objective: Objective = Wasserstein(),
    lr: float = H,
    regularizers: dict[str, Regularizer] | None = None,
) -> GANModule:
    """Dirac-GAN: psi x against theta, with the reals at 0."""
    psi, theta = start
    module = GANModule(
        image=POINT,
        generator=dirac.Generator(image=POINT, start=theta),
        discriminator=dirac.Discriminator(start=psi),
        objective=objective,
        optimizers=dict.fromkeys(("generator", "discriminator"), partial(SGD, lr=lr)),
        regularizers=regularizers,
        dynamics=dynamics,
        runtime=Runtime(precision="fp64", group=1),
    )
    module.configure_optimizers()
    return module


def at(module: GANModule) -> Tensor:
    return torch.stack([module.discriminator.psi, module.generator.theta]).detach().clone()


def play(module: GANModule, rounds: int) -> Tensor:
    """The point after some rounds."""
    for number in range(rounds):
        module.training_step(REALS, number)
    return at(module)


def rate(dynamics: Dynamics) -> float:
    """The largest modulus of the eigenvalues of a round."""
    columns = [play(game(dynamics, start), 1) for start in ((1.0, 0.0), (0.0, 1.0))]
    return float(torch.linalg.eigvals(torch.stack(columns, 1)).abs().max())


def spectrum(gamma: float) -> Tensor:
    """Eigenvalues of the field of Dirac-GAN with R1 at its solution."""
    module = game(objective=NonSaturating(), regularizers={"r1": R1(weight=gamma)})
    module.require_gradients(module.network_names)
    batches = one_batch(module, list(module.players), REALS)
    return eigenvalues(jacobian(field_of(module, batches), torch.zeros(2).double()))


def close(system: str, quantity: str, ours: float, wanted: float, form: str, within: float = EXACT) -> Row:
    return Row(system, quantity, ours, f"{form} = {wanted:.6g}, within {within:g}", abs(ours - wanted) <= within)


def rates() -> Iterator[Row]:
    for name, (dynamics, wanted, form) in RATES.items():
        yield close("bilinear", f"{name}: rate", rate(dynamics), wanted, form)
    past = game(Extragradient(past=True))
    before, after = play(past, 900).norm(), play(past, 100).norm()
    root = max(abs((1 + 2j * H + k * (1 - 4 * H**2) ** 0.5) / 2) for k in (-1, 1))
    yield close(
        "bilinear", "past extragradient: rate", float(after / before) ** 0.01, root, "l^2 - (1 + 2ih) l + ih", 1e-5
    )
    ended = play(game(SymplecticAdjustment()), 100).norm()
    yield close(
        "bilinear",
        "symplectic adjustment: |w| after 100",
        float(ended),
        2**0.5 * abs(complex(0.9, H)) ** 100,
        "2^.5 abs(1 - h + ih)^100",
        1e-12,
    )
    for k in (0, 1, 5):
        moved = (1.0 - play(game(Unrolled(steps=k), (0.75, 1.0)), 1)[1].item()) / H
        yield close(
            "bilinear", f"unrolled, K = {k}: gradient by theta", moved, -0.75 + 2 * k * H, "-psi + 2 K h theta", 1e-12
        )


def eigen() -> Iterator[Row]:
    for gamma in (0.0, 0.3, 1.0, 2.0):
        root = complex(gamma**2 / 4 - 0.25) ** 0.5
        wanted = sorted((gamma / 2 - root, gamma / 2 + root), key=lambda value: (value.real, value.imag))
        off = max(abs(ours - value) for ours, value in zip(spectrum(gamma).tolist(), wanted, strict=True))
        within = 1e-7 if gamma == 1 else EXACT  # a double root is found to half the digits
        yield close(
            "Dirac-GAN",
            f"R1, gamma {gamma:g}: error of the eigenvalues",
            off,
            0.0,
            "gamma/2 +- (gamma^2/4 - 1/4)^.5",
            within,
        )
    creeping = play(game(objective=NonSaturating(), lr=0.2), 500).norm().item()
    # d|w|^2/dt = -2 p tanh(p / 2), p = psi theta: of second order in |w|^2; averaged over a circle -|w|^4 / 8.
    slow = (1 / 2 + 500 * 0.2 / 8) ** -0.5
    yield close("Dirac-GAN", "no penalty: |w| after 500 of step .2", creeping, slow, "(1/2 + n h / 8)^-.5", 0.01)
    drawn = play(game(objective=NonSaturating(), lr=0.2, regularizers={"r1": R1(weight=1.0)}), 500).norm().item()
    yield Row("Dirac-GAN", "R1, gamma 1: |w| after 500 of step .2", drawn, "less than 1e-12", drawn < 1e-12)


class Noisy(GANModule):
    """Dirac-GAN whose generator adds a fixed number to its latents' noise: its gradients vary from batch to batch."""

    def generate(self, latents: Tensor, labels: Tensor, full: bool = False) -> Tensor:
        made: Tensor = super().generate(latents, labels, full)
        return made + latents[:, :, None, None]


def bias(seed: int) -> Iterator[Row]:
    """The energy that consensus descends, over batches of b: E |xi_b|^2 = |xi|^2 + tr Cov / b, E xi_A xi_B = |xi|^2."""
    module = Noisy(
        image=POINT,
        generator=dirac.Generator(image=POINT, start=0.4),
        discriminator=dirac.Discriminator(start=0.7),
        objective=Wasserstein(),
        optimizers=dict.fromkeys(("generator", "discriminator"), partial(SGD, lr=H)),
        runtime=Runtime(precision="fp64", group=8, seed=seed),
    )
    module.configure_optimizers()
    module.require_gradients(module.network_names)
    b, count = 16, 4_000
    reals = {"real": torch.zeros(b // 2, 1, 1, 1, dtype=torch.float64), "labels": torch.full((b // 2,), -1)}
    fields = []
    for number in range(2 * count):  # each a half
        module.clock.nimg = number
        fields.append(Field(module, one_batch(module, list(module.players), reals)).value)
    a, c = torch.stack(fields).unflatten(0, (count, 2)).unbind(1)
    energies = {"one batch": ((a + c) / 2).square().sum(1), "independent halves": (a * c).sum(1)}
    xi = torch.tensor([0.4, -0.7], dtype=torch.float64).square().sum().item()  # (theta, -psi)
    for name, energy in energies.items():
        error = (energy.std() / count**0.5).item()
        wanted, form = (xi + 1 / b, "|xi|^2 + tr Cov / b") if name == "one batch" else (xi, "|xi|^2")
        yield close(
            "consensus",
            f"{name}: mean energy over {count:,} batches of {b}",
            energy.mean().item(),
            wanted,
            form,
            round(4 * error, 4),
        )


def rows(seed: int) -> Iterator[Row]:
    yield from rates()
    yield from eigen()
    yield from bias(seed)

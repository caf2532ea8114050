"""SN-GAN, the projection discriminator and WGAN-GP against their papers' games, written by hand."""

import copy

import pytest
import tiny
import torch
from repository import REPOSITORY
from scipy import stats
from torch import nn
from torch.func import functional_call
from torch.nn.functional import relu

from ganlab.engine.runtime import Runtime
from ganlab.experiment.build import build_model
from ganlab.experiment.config import load
from ganlab.models import SNGAN, GANModule, ProjectionGAN
from ganlab.networks import resnet
from ganlab.schedules import Linear
from ganlab.seeding import Noise, seed_everything
from ganlab.types import ImageSpec, UserError

IMAGE = ImageSpec(16, 16, 1, 3)
BATCH, LATENT, LR, HALF_LIFE, END = 4, 128, 2e-4, 100.0, 200

pytestmark = pytest.mark.usefixtures("one_thread")


def raw_weights(network):
    """Return a discriminator's weights before spectral norm, and the vectors u and v, by the names of plain layers."""
    weights, u, v = {}, {}, {}
    for name, tensor in copy.deepcopy(network.state_dict()).items():
        layer, _, rest = name.partition(".parametrizations.weight.")
        kind = {"": weights, "original": weights, "0.u": u, "0.v": v}[rest]
        kind[f"{layer}.weight" if rest else name] = tensor
    return weights, u, v


class Reference:
    """One process, float64, no framework; spectral norm, losses, penalty and Adam are its own."""

    def __init__(self, module, *, spectral, penalty=0.0, labels=None):
        self.g, self.ema = copy.deepcopy(module.generator), copy.deepcopy(module.generator)
        self.d = resnet.Discriminator(
            image=IMAGE,
            width=4,
            spectral_norm=False,
            pooling="sum" if spectral else "mean",
            output_bias=not spectral,
            conditional=labels is not None,
        )
        self.w, self.u, self.v = raw_weights(module.discriminator)
        self.w = {name: w.requires_grad_() for name, w in self.w.items()}
        self.second = {id(p): torch.zeros_like(p) for p in [*self.w.values(), *self.g.parameters()]}
        self.spectral, self.penalty, self.labels, self.nimg, self.steps = spectral, penalty, labels, 0, 0

    def score(self, images, labels):
        weights = dict(self.w)
        for name, u in self.u.items():
            weights[name] = weights[name] / (u @ weights[name].movedim(1, -1).flatten(1) @ self.v[name])
        return functional_call(self.d, weights, (images, labels))

    def adam(self, loss, parameters, t):
        """With a first beta of 0 the first moment is the gradient itself."""
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            second = self.second[id(p)]
            second.mul_(0.9).add_(0.1 * gradient**2)
            p.data -= LR * max(0, 1 - self.lr_at / END) * gradient / ((second / (1 - 0.9**t)).sqrt() + 1e-8)

    def draw(self, player, n, of_reals):
        noise = Noise(0, self.nimg, 0, 4, dtype=torch.float64)
        labels = noise.classes(f"{player} labels", n, 3) if self.labels == "uniform" else of_reals
        return noise, noise.normal(f"{player} latents", n, LATENT), labels

    def step(self, pixels, labels):
        noise, latents, fake_labels = self.draw("discriminator", BATCH, labels)
        real = (pixels.double() + noise.uniform("dequantization", *pixels.shape)) / 128 - 1
        for name, u in self.u.items():
            matrix = self.w[name].detach().movedim(1, -1).flatten(1)
            self.v[name] = matrix.T @ u / (matrix.T @ u).norm()
            self.u[name] = matrix @ self.v[name] / (matrix @ self.v[name]).norm()
        with torch.no_grad():
            fake = self.g(latents, fake_labels)
        at_real, at_fake = self.score(real, labels), self.score(fake, fake_labels)
        loss = relu(1 - at_real) + relu(1 + at_fake) if self.spectral else at_fake - at_real
        if self.penalty:
            between = (real + noise.uniform("between", BATCH, 1, 1, 1) * (fake - real)).requires_grad_()
            (slope,) = torch.autograd.grad(self.score(between, labels).sum(), between, create_graph=True)
            loss = loss + self.penalty * (slope.flatten(1).norm(dim=1) - 1) ** 2
        self.lr_at, self.steps = self.nimg, self.steps + 1
        self.adam(loss.mean(), list(self.w.values()), self.steps)
        self.nimg += BATCH
        if self.steps % 5 == 0:
            self.lr_at = self.nimg
            _, latents, fake_labels = self.draw("generator", 2 * BATCH, labels.repeat_interleave(2))
            loss = -self.score(self.g(latents, fake_labels), fake_labels).mean()
            self.adam(loss, list(self.g.parameters()), self.steps // 5)
            keep = 0.5 ** (5 * BATCH / HALF_LIFE)
            for average, live in zip(self.ema.parameters(), self.g.parameters(), strict=True):
                average.data = keep * average.data + (1 - keep) * live.data


def game(kind, **changes):
    """A module in float64, 16 px and 4 channels wide; WGAN-GP is the shipped YAML, made small."""
    seed_everything(3)
    if kind == "wgan_gp":
        small = ("generator.width=4", "discriminator.width=4", f"lr_schedule.until_nimg={END}")
        size = [f"data.image.{side}=16" for side in ("height", "width")]
        overrides = [f"model.{key}" for key in (*small, f"ema_half_life={HALF_LIFE}")]
        path = REPOSITORY / "configs" / "cifar10" / "wgan_gp.yaml"
        return build_model(load(path, [*overrides, *size, "data.image.channels=1", "machine.precision=fp64"]))
    arguments = {"image": IMAGE, "generator_width": 4, "discriminator_width": 4, "ema_half_life": HALF_LIFE}
    return kind(**arguments, lr_schedule=Linear(until_nimg=END), **tiny.with_runtime(changes, precision="fp64"))


def seated(module):
    module.configure_optimizers()
    return module


def batches(count, n=BATCH):
    draw = torch.Generator().manual_seed(8)
    for _ in range(count):
        pixels = torch.randint(256, (n, 1, 16, 16), generator=draw, dtype=torch.uint8)
        yield pixels, torch.randint(3, (n,), generator=draw)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "changes", "by_hand"),
    [
        pytest.param(SNGAN, {}, {"spectral": True}, id="SN-GAN"),
        pytest.param(ProjectionGAN, {}, {"spectral": True, "labels": "uniform"}, id="projection"),
        pytest.param(
            ProjectionGAN, {"fake_labels": "data"}, {"spectral": True, "labels": "data"}, id="labels of the data"
        ),
        pytest.param("wgan_gp", {}, {"spectral": False, "penalty": 10.0}, id="WGAN-GP"),
    ],
)
def test_ten_steps_of_each_player_are_those_of_a_loop_written_by_hand(kind, changes, by_hand):
    module = seated(game(kind, **changes))
    reference = Reference(module, **by_hand)
    start = copy.deepcopy(module.state_dict())
    for number, batch in enumerate(batches(50)):
        module.training_step(batch, number)
        reference.step(*batch)
    assert module.clock.steps == {"discriminator": 50, "generator": 10} and module.clock.nimg == END
    assert tiny.distance(module.generator.state_dict(), reference.g.state_dict()) < 1e-10
    averages = dict(reference.ema.named_parameters())
    assert tiny.distance(dict(module.ema.named_parameters()), averages) < 1e-10
    for ours, theirs in zip(raw_weights(module.discriminator), (reference.w, reference.u, reference.v), strict=True):
        assert not theirs or tiny.distance(ours, theirs) < 1e-10
    assert len(reference.u) == {SNGAN: 9, ProjectionGAN: 10, "wgan_gp": 0}[kind]
    for player in ("generator", "discriminator"):
        moved = {name: tensor for name, tensor in module.state_dict().items() if name.startswith(player)}
        assert tiny.distance(moved, {name: start[name] for name in moved}) > 1e-4


@pytest.mark.slow
def test_the_largest_singular_values_stay_at_one():
    """Where two of them cross, the estimate lags; of these small networks' weights none does."""
    seed_everything(1)
    runtime = Runtime(total_nimg=16_000_000)
    module = seated(ProjectionGAN(image=IMAGE, generator_width=8, discriminator_width=8, runtime=runtime))
    layers = [m for m in module.discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) == 10
    for number, batch in enumerate(batches(100, 32)):
        module.training_step(batch, number)
        for layer in layers:
            assert abs(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0] - 1) < 0.05, (number, layer)
    assert module.statistics.read()["discriminator/not_finite"] == 0


def test_the_papers_values_are_the_defaults():
    for kind, conditional in ((SNGAN, 0), (ProjectionGAN, 3)):
        module = seated(kind(image=IMAGE, runtime=Runtime(total_nimg=16_000_000)))
        assert isinstance(module, GANModule) and module.classes == conditional and module.latent == 128
        for seat in module.seats.values():
            group = seat.optimizer.param_groups[0]
            assert (group["lr"], group["betas"], group["eps"]) == (2e-4, (0.0, 0.9), 1e-8)
        d, g = module.players["discriminator"], module.players["generator"]
        assert (d.every, g.every, d.batch, g.batch) == (1, 5, 1, 2) and module.cycle() == 5
        for player in (d, g):
            assert [player.lr_schedule(at) for at in (0, 4_000_000, 16_000_000)] == [1, 0.75, 0]
            assert not player.regularizers and not player.constraints
        assert module.dequantize and module.augment is None and module.BATCH == 64
        assert module.generator.norm.eps == 2e-5


# --- arguments of the game that came with these papers


def seen_by(module, name, batch):
    """Return what one step gives to a method of the module."""
    calls, method = [], getattr(module, name)
    setattr(module, name, lambda *arguments: calls.append(arguments) or method(*arguments))
    module.training_step(batch, 0)
    return calls


def test_dequantization_spreads_each_level_over_its_own_interval():
    networks = {
        "generator": resnet.Generator(image=IMAGE, width=1, latent=2),
        "discriminator": resnet.Discriminator(image=IMAGE, width=1),
    }
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(8, 1, 1, 1)
    labels = torch.zeros(8, dtype=torch.int64)
    module = seated(tiny.game(image=IMAGE, **networks, dequantize=True))
    ((_, reals), *_) = seen_by(module, "step", (pixels, labels))
    first = reals["real"]
    levels = (first + 1) * 128
    assert torch.equal(levels.floor(), pixels.double())
    assert stats.kstest((levels - pixels).flatten().numpy(), "uniform").pvalue > 1e-3
    ((_, reals), *_) = seen_by(module, "step", (pixels, labels))
    assert not (reals["real"] == first).any()  # fresh at every step
    ((_, reals), *_) = seen_by(module, "step", (first.float(), labels))
    assert torch.equal(reals["real"], first.float().double())  # only bytes have levels


@pytest.mark.slow
@pytest.mark.parametrize("fake_labels", ["data", "uniform"])
def test_fakes_have_the_labels_of_the_reals_or_uniform_ones(fake_labels):
    module = seated(game(ProjectionGAN, fake_labels=fake_labels, discriminator_steps=1))
    seen, generate = [], module.generate
    module.generate = lambda latents, labels, **how: seen.append(labels) or generate(latents, labels, **how)
    for number in range(30):
        module.training_step((next(batches(1, 8))[0], torch.arange(8) % 2), number)
    for_discriminator, for_generator = torch.stack(seen[::2]), torch.stack(seen[1::2])
    if fake_labels == "data":
        assert (for_discriminator == torch.arange(8) % 2).all()
        assert (for_generator == (torch.arange(8) % 2).repeat_interleave(2)).all()
    else:
        for labels in (for_discriminator, for_generator):
            assert stats.chisquare(labels.flatten().bincount(minlength=3)).pvalue > 1e-3
            assert len(labels.unique(dim=0)) == 30


def test_labels_of_the_data_want_a_whole_number_of_fakes_for_each_real():
    with pytest.raises(UserError, match=r"model\.generator_batch: 1\.5: write .* whole if fake_labels: data"):
        game(ProjectionGAN, fake_labels="data", generator_batch=1.5)


def test_a_group_holds_whole_groups_of_a_batch_norm():
    with pytest.raises(UserError, match=r"train\.group: 4 is no multiple of 8, the group that the generator couples"):
        game(SNGAN, batch_norm_group=8)
    assert game(SNGAN, batch_norm_group=8, group=16).runtime.group == 16

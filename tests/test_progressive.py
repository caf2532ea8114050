"""The game of progressive growing against a loop written by hand, and growth as a function of the images seen."""

import copy
import math

import pytest
import tiny
import torch
from torch.nn import functional as F

from ganlab.models import ProgressiveGAN
from ganlab.objectives import NonSaturating
from ganlab.regularizers import R1
from ganlab.seeding import Noise, seed_everything
from ganlab.types import ImageSpec, Phase, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = ImageSpec(16, 16, 1)
SEED, BATCH, LR, BETAS, EPSILON, DECAY = 3, 4, 5e-4, (0.3, 0.9), 1e-8, 0.9
TRAIN, FADE = 12, 20
"""In steps of 4: three at 4 px, five that fade 8 px in, three at 8 px, five that fade 16 px in."""
LATENT, CHANNELS = 5, {2: 6, 4: 6, 8: 4, 16: 2}


def game(image=IMAGE, **changes):
    seed_everything(SEED)
    arguments = {"width_base": 16, "width_max": 6, "latent": LATENT, "train_nimg": TRAIN, "fade_nimg": FADE}
    arguments |= {"batches": {"4": BATCH}, "lr": LR, "betas": BETAS, "lr_factors": {"8": 0.5, "16": 2.0}}
    arguments |= {"ema_decay": DECAY} | tiny.with_runtime(changes, seed=SEED, precision="fp64")
    return ProgressiveGAN(image=image, **arguments)


def seated(module):
    module.configure_optimizers()
    return module


def batches(count, n=BATCH):
    """Noise at full size, larger than most steps are at."""
    draw = torch.Generator().manual_seed(8)
    for _ in range(count):
        yield torch.rand(n, 1, 16, 16, generator=draw, dtype=torch.float64) * 2 - 1, torch.full((n,), -1)


def shrunk(images, times):
    """Averages of boxes."""
    n, c, h, w = images.shape
    return images.reshape(n, c, h // times, times, w // times, times).mean((3, 5))


def repeated(images):
    return images.repeat_interleave(2, 2).repeat_interleave(2, 3)


class Loop:
    """What the paper's reader would write: one process, no framework, weights in two dictionaries, float64."""

    def __init__(self, g, d):
        self.g, self.d, self.ema = ({k: v.clone() for k, v in w.items()} for w in (g, d, g))
        self.moments, self.nimg = {}, 0

    @staticmethod
    def level(nimg):
        for size, start in ((16, 44), (8, 12)):
            if nimg >= start:
                return size, min((nimg - start) / FADE, 1)
        return 4, 1

    @staticmethod
    def layer(weights, name, x, gain=2**0.5, pad=1):
        w, b = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if w.dim() == 2:
            return x @ w.T * gain / math.sqrt(w.shape[1]) + b
        return F.conv2d(x, w * gain / math.sqrt(w[0].numel()), b, padding=pad)

    @staticmethod
    def normal(x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    def generate(self, w, z, size, alpha):
        def act(x):
            return self.normal(F.leaky_relu(x, 0.2))

        def image(x, at):
            return self.layer(w, f"to_rgb.{at}", x, gain=1.0, pad=0)

        first = torch.einsum("nc,coyx->noyx", self.normal(z), w["blocks.4.2.weight"]) * 2**0.5 / 4 / math.sqrt(LATENT)
        x = act(first + w["blocks.4.2.bias"].view(-1, 1, 1))
        x = act(self.layer(w, "blocks.4.5", x))
        at, old = 4, None
        while at < size:
            at, old = 2 * at, repeated(image(x, at))
            x = act(self.layer(w, f"blocks.{at}.1", repeated(x)))
            x = act(self.layer(w, f"blocks.{at}.4", x))
        return image(x, at) if alpha == 1 else (1 - alpha) * old + alpha * image(x, at)

    def score(self, x, size, alpha):
        def act(x):
            return F.leaky_relu(x, 0.2)

        images, w = x, self.d
        x = act(self.layer(w, f"from_rgb.{size}.0", x, pad=0))
        for at in (16, 8):
            if at <= size:
                x = act(self.layer(w, f"blocks.{at}.0", x))
                x = act(shrunk(self.layer(w, f"blocks.{at}.2", x), 2))
                if at == size and alpha < 1:
                    old = act(self.layer(w, f"from_rgb.{at // 2}.0", shrunk(images, 2), pad=0))
                    x = (1 - alpha) * old + alpha * x
        deviation = ((x - x.mean(0)).square().mean(0) + 1e-8).sqrt().mean()  # the batch is one group
        x = act(self.layer(w, "last.1", torch.cat([x, deviation.expand(len(x), 1, 4, 4)], 1)))
        x = act(self.layer(w, "last.4", x.flatten(1)))
        return self.layer(w, "last.6", x, gain=1.0)[:, 0]

    def adam(self, weights, loss, size):
        lr = LR * {4: 1.0, 8: 0.5, 16: 2.0}[size]
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            if gradient is None:
                continue
            t, m, v = self.moments.get((id(weights), name), (0, 0.0, 0.0))
            t, m, v = t + 1, BETAS[0] * m + (1 - BETAS[0]) * gradient, BETAS[1] * v + (1 - BETAS[1]) * gradient**2
            self.moments[id(weights), name] = t, m, v
            step = m / (1 - BETAS[0] ** t) / ((v / (1 - BETAS[1] ** t)).sqrt() + EPSILON)
            weights[name] = (weight - lr * step).detach()

    def latents(self, player):
        return Noise(SEED, self.nimg, 0, 4, dtype=torch.float64).normal(f"{player} latents", BATCH, LATENT)

    def step(self, real):
        size, alpha = self.level(self.nimg)
        real = shrunk(real, 16 // size)
        if alpha < 1:
            real = (1 - alpha) * repeated(shrunk(real, 2)) + alpha * real
        for weight in self.d.values():
            weight.requires_grad_()
        fake = self.generate(self.g, self.latents("discriminator"), size, alpha).detach()
        share = Noise(SEED, self.nimg, 0, 4, dtype=torch.float64).uniform("between", BATCH, 1, 1, 1)
        between = (real + share * (fake - real)).requires_grad_()
        (slope,) = torch.autograd.grad(self.score(between, size, alpha).sum(), between, create_graph=True)
        at_real, at_fake = self.score(real, size, alpha), self.score(fake, size, alpha)
        penalty = 10 * (slope.flatten(1).norm(dim=1) - 1) ** 2
        self.adam(self.d, (at_fake - at_real + penalty + 0.001 * at_real**2).mean(), size)
        for name, average in self.ema.items():
            average.mul_(DECAY).add_(self.g[name].detach(), alpha=1 - DECAY)
        self.nimg += BATCH
        before, (size, alpha) = (size, alpha < 1), self.level(self.nimg)
        if before != (size, alpha < 1):
            self.moments = {}
        for weight in self.g.values():
            weight.requires_grad_()
        fake = self.generate(self.g, self.latents("generator"), size, alpha)
        self.adam(self.g, -self.score(fake, size, alpha).mean(), size)


@pytest.mark.parametrize("first", [0, 24, 40], ids="from image {}".format)
def test_ten_steps_are_those_of_a_loop_written_by_hand(first):
    """The first ten cross from 4 px into the fade of 8 px and out of it, the last ones into that of 16 px."""
    module = seated(game())
    loop = Loop(module.generator.state_dict(), module.discriminator.state_dict())
    module.clock.nimg = loop.nimg = first
    start = copy.deepcopy(module.state_dict())
    for batch in batches(10):
        module.training_step(batch, 0)
        loop.step(batch[0])
    assert module.clock.nimg == loop.nimg == first + 40
    far = {}
    for network, weights in (("generator", loop.g), ("discriminator", loop.d), ("ema", loop.ema)):
        for name, weight in weights.items():
            torch.testing.assert_close(module.state_dict()[f"{network}.{name}"], weight.detach(), rtol=0, atol=1e-10)
            far[f"{network}.{name}"] = (weight - start[f"{network}.{name}"]).abs().max()
    reached = [name for name, distance in far.items() if distance > 1e-5]
    assert len(reached) > 30 and any(".16." in name for name in reached) == (first > 0)


def test_the_moments_of_adam_are_forgotten_at_both_ends_of_a_fade():
    module = seated(game())
    steps = {name: [] for name in module.seats}
    for batch in batches(13):
        module.training_step(batch, 0)
        for name, seat in module.seats.items():
            steps[name].append(max((s["step"].item() for s in seat.optimizer.state.values()), default=0))
    # Fades are from 12 to 32 and from 44 on; a generator's step comes after the one that crosses their ends.
    assert steps["discriminator"] == [1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2]
    assert steps["generator"] == [1, 2, 1, 2, 3, 4, 5, 1, 2, 3, 1, 2, 3]


def test_layers_that_are_not_on_show_may_have_zero_gradients_or_none():
    """As they have on several processes, and on one: Adam then counts its steps, or does not."""
    one, many = seated(game()), seated(game())
    for seat in many.seats.values():
        weights = list(seat.network.parameters())
        seat.gradients.clear = lambda weights=weights: [setattr(w, "grad", torch.zeros_like(w)) for w in weights]
    for batch in batches(16):
        one.training_step(batch, 0)
        many.training_step(batch, 0)
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, many.state_dict()[name]), (one.clock.nimg, name)


def test_level_and_plan_are_functions_of_the_images_seen():
    module = game(batches={"4": 64, "16": 32}, train_nimg=100, fade_nimg=50)
    assert module.phases == [
        Phase(0, ImageSpec(4, 4, 1), 64),
        Phase(100, ImageSpec(8, 8, 1), 64),
        Phase(250, ImageSpec(16, 16, 1), 32),
    ]
    levels = {0: (4, 1.0), 99: (4, 1.0), 100: (8, 0.0), 101: (8, 0.02), 125: (8, 0.5), 149: (8, 0.98), 150: (8, 1.0)}
    levels |= {249: (8, 1.0), 250: (16, 0.0), 299: (16, 0.98), 300: (16, 1.0), 10**9: (16, 1.0)}
    assert {nimg: module.level(nimg) for nimg in levels} == levels
    assert [module.players["generator"].lr_schedule(nimg) for nimg in (0, 99, 100, 249, 250, 10**9)] == [
        1.0,
        1.0,
        0.5,
        0.5,
        2.0,
        2.0,
    ]


def test_samples_are_of_full_size_and_continuous_across_every_boundary():
    module = game()
    with torch.no_grad():
        for parameter in module.generator.to_rgb.parameters():
            parameter.mul_(0.3)  # away from white and black
    module.ema.load_state_dict(module.generator.state_dict())
    shown = {}
    for nimg in (0, 11, 12, 22, 31, 32, 43, 44, 63, 64):
        module.clock.nimg = nimg
        shown[nimg] = module.sample(20, seed=1).double()
        assert shown[nimg].shape == (20, 1, 16, 16) and len(shown[nimg].unique()) > 20
        block = 16 // module.level(nimg)[0]
        assert torch.equal(
            shown[nimg], shown[nimg][..., ::block, ::block].repeat_interleave(block, 2).repeat_interleave(block, 3)
        )
    for before, after in ((11, 12), (32, 43), (43, 44)):
        assert torch.equal(shown[before], shown[after])
    whole = (shown[12] - shown[32]).abs().mean()
    assert whole > 5  # of 255 levels: there is something to be continuous in
    for before, after in ((31, 32), (63, 64)):  # the last twentieth of a fade
        assert (shown[before] - shown[after]).abs().mean() < whole / 5


def test_samples_between_steps_change_nothing():
    one, two = seated(game()), seated(game())
    for batch in batches(8):
        one.training_step(batch, 0)
        two.sample(1)
        two.training_step(batch, 0)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name]), name


def test_the_loss_is_a_part_and_labels_are_told():
    image = ImageSpec(16, 16, 1, 3)
    module = seated(game(image, objective=NonSaturating(), regularizers={"r1": R1(weight=1.0)}, conditional=True))
    for images, _ in batches(5):
        module.training_step((images, torch.tensor([0, 1, 2, 0])), 0)
    seen = module.statistics.read()
    logits = [f"{at}_{name}" for at in ("real", "fake") for name in ("logit", "logit_spread", "called_real")]
    both = "loss", "not_finite", "gradient_norm"
    assert seen.keys() == {f"discriminator/{name}" for name in ("r1", *both, *logits)} | {
        f"generator/{name}" for name in both
    }
    assert seen["discriminator/loss"] > 0 and not torch.equal(
        module.sample(1, labels=[0]), module.sample(1, labels=[1])
    )
    assert {"gradient_penalty", "drift"} == game().players["discriminator"].regularizers.keys()


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_bf16_is_close_to_fp32_and_keeps_weights_and_logits_in_full(alpha):
    kinds = {}
    for precision in ("fp32", "bf16"):
        module = seated(game(precision=precision, width_base=256, width_max=16))
        module.clock.nimg = 44 + round(alpha * FADE)
        fake = module.generate(*module.draw_latents(8, module.noise(0), "x"))
        kinds[precision] = fake.detach(), module.score(fake, torch.full((8,), -1)).detach()
        module.training_step(next((x.float(), y) for x, y in batches(1)), 0)
        assert {t.dtype for t in (*kinds[precision], *module.state_dict().values())} == {torch.float32}
        assert module.statistics.read()["discriminator/not_finite"] == 0
    for full, low in zip(*kinds.values(), strict=True):
        assert 1e-4 < (low - full).norm() / full.norm() < 0.05


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"train_nimg": 0}, r"model\.train_nimg: 0: must be more than 0"),
        ({"fade_nimg": -1}, r"model\.fade_nimg: -1: must be more than 0"),
        ({"batches": {"4": 4, "12": 4}}, r"model\.batches: 12: its keys are sizes in px; write 4, 8, 16, .*, 1024"),
        ({"lr_factors": {"2048": 1.0}}, r"model\.lr_factors: 2048: its keys are sizes"),
        ({"batches": {"4": 0}}, r"model\.batches\.4: 0: must be more than 0"),
        ({"batches": {"8": 4}}, r"model\.batches: has no entry for 4 px"),
    ],
)
def test_schedules_that_are_none_are_refused(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        game(**changes)

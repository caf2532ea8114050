"""The game without a Trainer, against a loop written by hand."""

import copy
from functools import partial
from statistics import pstdev

import pytest
import tiny
import torch
from torch.optim import SGD, Adam, AdamW

from ganlab.augment import MirrorFlip
from ganlab.engine.batch import Batch
from ganlab.models import DCGAN, GANModule
from ganlab.networks import dcgan
from ganlab.objectives import NonSaturating
from ganlab.regularizers import R1, R2
from ganlab.schedules import Linear
from ganlab.seeding import Noise, seed_everything
from ganlab.types import ImageSpec, UserError

IMAGE = ImageSpec(16, 16, 1, 3)
LR, BETAS, EPSILON, HALF_LIFE, SEED, BATCH = 1e-3, (0.5, 0.999), 1e-8, 40.0, 6, 4


pytestmark = pytest.mark.usefixtures("one_thread")


class Loop:
    """What a paper's reader would write: one process, no framework, float64."""

    def __init__(self, g, d, *, r1=0.0, every=1, generator_batch=1, steps=1, flip=False, schedule=None, classes=0):
        self.g, self.d, self.ema = g, d, copy.deepcopy(g)
        self.moments = {id(p): [torch.zeros_like(p)] * 2 for p in [*g.parameters(), *d.parameters()]}
        self.steps_of = {id(g): 0, id(d): 0}
        self.r1, self.every, self.generator_batch, self.steps = r1, every, generator_batch, steps
        self.flip, self.schedule, self.classes = flip, schedule, classes
        self.nimg, self.seen = 0, {}

    def adam(self, network, loss):
        lr = LR * (self.schedule(self.lr_at) if self.schedule else 1)
        self.steps_of[id(network)] += 1
        t = self.steps_of[id(network)]
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        name = "generator" if network is self.g else "discriminator"
        self.note(f"{name}/gradient_norm", torch.cat([gradient.flatten() for gradient in gradients]).norm())
        for parameter, gradient in zip(parameters, gradients, strict=True):
            first, second = self.moments[id(parameter)]
            first = BETAS[0] * first + (1 - BETAS[0]) * gradient
            second = BETAS[1] * second + (1 - BETAS[1]) * gradient**2
            self.moments[id(parameter)] = [first, second]
            scaled = (second / (1 - BETAS[1] ** t)).sqrt() + EPSILON
            parameter.data -= lr * first / (1 - BETAS[0] ** t) / scaled

    def draw(self, player, n):
        noise = Noise(SEED, self.nimg, 0, 4, dtype=torch.float64)
        labels = noise.classes(f"{player} labels", n, self.classes) if self.classes else torch.full((n,), -1)
        return noise.normal(f"{player} latents", n, 6), labels

    def flipped(self, images, name):
        if not self.flip:
            return images
        coins = Noise(SEED, self.nimg, 0, 4, dtype=torch.float64).uniform(f"{name} flip", len(images), 1, 1, 1)
        return torch.stack([x.flip(-1) if coin < 0.5 else x for x, coin in zip(images, coins.flatten(), strict=True)])

    def note(self, name, values):
        self.seen.setdefault(name, []).extend(values.flatten().tolist())

    def step(self, real, labels):
        latents, fake_labels = self.draw("discriminator", len(real))
        self.lr_at = self.nimg
        with torch.no_grad():
            fake = self.flipped(self.g(latents, fake_labels), "discriminator fake")
        real = self.flipped(real, "discriminator real").clone().requires_grad_()
        at_real, at_fake = self.d(real, labels), self.d(fake, fake_labels)
        losses = (1 + (-at_real).exp()).log() + (1 + at_fake.exp()).log()
        self.note("discriminator/loss", losses)
        self.note("discriminator/real_logit", at_real)
        self.note("discriminator/fake_logit", at_fake)
        if self.r1 and self.steps_of[id(self.d)] % self.every == 0:
            (gradient,) = torch.autograd.grad(at_real.sum(), real, create_graph=True)
            penalties = self.r1 / 2 * self.every * gradient.flatten(1).norm(dim=1) ** 2
            self.note("discriminator/r1", penalties)
            losses = losses + penalties
        self.adam(self.d, losses.mean())
        self.nimg += len(real)
        if self.steps_of[id(self.d)] % self.steps:
            return
        self.lr_at = self.nimg
        latents, fake_labels = self.draw("generator", int(self.generator_batch * len(real)))
        fake = self.flipped(self.g(latents, fake_labels), "generator fake")
        losses = (1 + (-self.d(fake, fake_labels)).exp()).log()
        self.note("generator/loss", losses)
        self.adam(self.g, losses.mean())
        keep = 0.5 ** (self.steps * len(real) / HALF_LIFE)
        for average, live in zip(self.ema.parameters(), self.g.parameters(), strict=True):
            average.data = keep * average.data + (1 - keep) * live.data
        for average, live in zip(self.ema.buffers(), self.g.buffers(), strict=True):
            average.data = live.data.clone()

    def statistics(self):
        means = {name: sum(values) / len(values) for name, values in self.seen.items()}
        for at in ("real", "fake"):
            logits = self.seen[f"discriminator/{at}_logit"]
            means[f"discriminator/{at}_logit_spread"] = pstdev(logits)
            means[f"discriminator/{at}_called_real"] = sum(logit > 0 for logit in logits) / len(logits)
        return means | {"discriminator/not_finite": 0.0, "generator/not_finite": 0.0}


def dcgan_game(classes=0, **changes):
    """The arguments that `DCGAN` has go to it, the others to a `GANModule` of the same networks."""
    seed_everything(SEED)
    shared = {"image": IMAGE, "ema_half_life": HALF_LIFE} | tiny.with_runtime(changes, seed=SEED, precision="fp64")
    if not {"discriminator_steps", "generator_batch"} & shared.keys():
        return DCGAN(width=4, latent=6, lr=LR, betas=BETAS, conditional=classes > 0, **shared)
    adam = partial(Adam, lr=LR, betas=BETAS)
    return GANModule(
        generator=dcgan.Generator(image=IMAGE, width=4, latent=6, conditional=classes > 0),
        discriminator=dcgan.Discriminator(image=IMAGE, width=4, conditional=classes > 0),
        objective=NonSaturating(),
        optimizers={"generator": adam, "discriminator": adam},
        **shared,
    )


def dcgan_batches(count, n=BATCH, dtype=torch.float64):
    draw = torch.Generator().manual_seed(8)
    for _ in range(count):
        images = torch.rand(n, 1, 16, 16, generator=draw, dtype=torch.float64) * 2 - 1
        yield images.to(dtype), torch.randint(3, (n,), generator=draw)


def seated(module):
    module.configure_optimizers()
    return module


def play(module, batches):
    for i, batch in enumerate(batches):
        module.training_step(batch, i)
    return module


def loud(module):
    """Make the averaged generator's images of full contrast; at its beginning they are all but grey."""
    with torch.no_grad():
        module.ema.layers[-2].weight.mul_(100)
    return module


def state(network):
    return copy.deepcopy(network.state_dict())


LINE = Linear(from_nimg=8, until_nimg=32, start=1.0, end=0.2)


@pytest.mark.parametrize(
    ("ours", "by_hand"),
    [
        pytest.param({}, {}, id="plain"),
        pytest.param({"regularizers": {"r1": R1(weight=3.0)}}, {"r1": 3.0}, id="R1"),
        pytest.param({"regularizers": {"r1": R1(weight=3.0, every=4)}}, {"r1": 3.0, "every": 4}, id="lazy R1"),
        pytest.param({"generator_batch": 2.0}, {"generator_batch": 2}, id="unequal batches"),
        pytest.param({"discriminator_steps": 3}, {"steps": 3}, id="three steps"),
        pytest.param({"augment": MirrorFlip()}, {"flip": True}, id="flips"),
        pytest.param({"classes": 3}, {"classes": 3}, id="conditional"),
        pytest.param({"lr_schedule": LINE}, {"schedule": LINE}, id="schedule"),
        pytest.param(
            {
                "regularizers": {"r1": R1(weight=3.0, every=2)},
                "generator_batch": 2.0,
                "discriminator_steps": 2,
                "augment": MirrorFlip(),
                "classes": 3,
                "lr_schedule": LINE,
            },
            {
                "r1": 3.0,
                "every": 2,
                "generator_batch": 2,
                "steps": 2,
                "flip": True,
                "classes": 3,
                "schedule": LINE,
            },
            id="all together",
        ),
    ],
)
def test_ten_steps_are_those_of_a_loop_written_by_hand(ours, by_hand):
    module = seated(dcgan_game(**ours))
    loop = Loop(copy.deepcopy(module.generator), copy.deepcopy(module.discriminator), **by_hand)
    start = state(module.generator), state(module.discriminator)
    for batch in dcgan_batches(10):
        module.training_step(batch, 0)
        loop.step(*batch)
    assert tiny.distance(module.generator.state_dict(), loop.g.state_dict()) < 1e-10
    assert tiny.distance(module.discriminator.state_dict(), loop.d.state_dict()) < 1e-10
    assert tiny.distance(module.ema.state_dict(), loop.ema.state_dict()) < 1e-10
    assert tiny.distance(module.generator.state_dict(), start[0]) > 1e-4
    assert tiny.distance(module.discriminator.state_dict(), start[1]) > 1e-4
    generator_steps = 10 // by_hand.get("steps", 1)
    assert module.clock.nimg == 10 * BATCH
    assert module.clock.steps == {"discriminator": 10, "generator": generator_steps}
    assert module.statistics.read() == pytest.approx(loop.statistics(), abs=1e-10)
    assert module.statistics.read() == {}


BOTH = {"r1": R1(weight=2.0), "r2": R2(weight=1.0, every=2)}


@pytest.mark.parametrize("micro_batch", [2, 4, 6, 12, 64])
@pytest.mark.parametrize("generator_batch", [1.0, 0.5, 2.0])
def test_micro_batches_change_nothing(micro_batch, generator_batch):
    """Of 12 images, and of 6 or 24 of the generator's: some pieces are smaller than the others."""
    changes = {"regularizers": BOTH, "generator_batch": generator_batch, "augment": MirrorFlip()}
    whole = play(seated(tiny.game(**changes)), tiny.batches(4, 12))
    cut = play(seated(tiny.game(**changes, micro_batch=micro_batch)), tiny.batches(4, 12))
    assert tiny.distance(cut.state_dict(), whole.state_dict()) < 1e-12
    assert cut.statistics.read() == pytest.approx(whole.statistics.read(), abs=1e-12)
    assert cut.clock == whole.clock


def test_micro_batches_cut_no_group():
    with pytest.raises(UserError, match=r"train\.micro_batch: 3 is no multiple of train\.group, 2"):
        tiny.game(micro_batch=3)


def test_a_shared_batch_steps_as_two_halves_would():
    """The gradients of two ranks' shares, averaged by hand, are those of the whole batch."""
    images, labels = next(tiny.batches(1, 8))
    whole = seated(tiny.game(regularizers=BOTH))
    whole.training_step((images, labels), 0)
    halves = seated(tiny.game(regularizers=BOTH))
    losses = []
    for i in (0, 4):
        reals = {"real": images[i : i + 4], "labels": labels[i : i + 4]}
        drawn = halves.draw("discriminator", 4, halves.noise(i), reals["labels"])
        terms, _ = halves.discriminator_loss(Batch({**reals, **drawn}, BOTH))
        losses.append(sum(terms.values()))
    weights = list(halves.discriminator.parameters())
    expected = torch.autograd.grad((losses[0].mean() + losses[1].mean()) / 2, weights)
    for parameter, gradient in zip(whole.discriminator.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-13)


def test_a_step_changes_its_own_player_only():
    module = seated(dcgan_game(regularizers={"r1": R1(weight=1.0)}))
    images, labels = next(dcgan_batches(1))
    g, d = state(module.generator), state(module.discriminator)
    module.step("generator", {"real": images, "labels": labels})
    assert tiny.distance(module.discriminator.state_dict(), d) == 0 and tiny.distance(state(module.generator), g) > 1e-4
    assert all(parameter.grad is None for parameter in module.discriminator.parameters())

    g, ema = dict(module.generator.named_parameters()), state(module.ema)
    g = {name: parameter.detach().clone() for name, parameter in g.items()}
    gradients = {name: parameter.grad.clone() for name, parameter in module.generator.named_parameters()}
    module.step("discriminator", {"real": images, "labels": labels})
    assert tiny.distance(state(module.discriminator), d) > 1e-4 and tiny.distance(module.ema.state_dict(), ema) == 0
    for name, parameter in module.generator.named_parameters():  # its running statistics are no weights
        assert torch.equal(parameter, g[name]) and torch.equal(parameter.grad, gradients[name])

    gradients = {name: parameter.grad.clone() for name, parameter in module.discriminator.named_parameters()}
    module.step("generator", {"real": images, "labels": labels})
    for name, parameter in module.discriminator.named_parameters():
        assert torch.equal(parameter.grad, gradients[name])
    assert module.clock.steps == {"discriminator": 1, "generator": 2} and module.clock.nimg == BATCH


@pytest.mark.parametrize("steps", [1, 3])
def test_average_forgets_half_of_its_distance_in_a_half_life(steps):
    still = {name: partial(SGD, lr=0.0) for name in ("generator", "discriminator")}
    module = seated(tiny.game(optimizers=still, ema_half_life=16.0, discriminator_steps=steps))
    with torch.no_grad():
        for parameter in module.ema.parameters():
            parameter.add_(1.0)
    play(module, tiny.batches(6, 8))
    for average, live in zip(module.ema.parameters(), module.generator.parameters(), strict=True):
        torch.testing.assert_close(average - live, torch.full_like(live, 0.5 ** (6 * 8 / 16)))
        assert not average.requires_grad
    assert not module.ema.training


@pytest.mark.parametrize("optimizer", [partial(Adam, betas=(0.5, 0.9)), AdamW, partial(SGD, momentum=0.9)])
@pytest.mark.parametrize("regularizers", [{}, {"r1": R1(weight=1.0)}])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(optimizer, regularizers, value):
    makers = dict.fromkeys(("generator", "discriminator"), partial(optimizer, lr=1e-2))
    module = seated(tiny.game(optimizers=makers, regularizers=regularizers))
    images, labels = next(tiny.batches(1, 4))
    play(module, [(images, labels)] * 2)
    bad = images.clone()
    bad[1, 0, 2, 2] = value
    before = state(module.discriminator), copy.deepcopy(module.seats["discriminator"].optimizer.state_dict())
    module.step("discriminator", {"real": bad, "labels": labels})
    assert tiny.distance(module.discriminator.state_dict(), before[0]) == 0
    after = module.seats["discriminator"].optimizer.state_dict()
    assert str(after) == str(before[1])
    assert module.clock.nimg == 12 and module.clock.steps == {"discriminator": 3, "generator": 2}
    module.step("discriminator", {"real": images, "labels": labels})
    assert tiny.distance(module.discriminator.state_dict(), before[0]) > 1e-6
    statistics = module.statistics.read()
    assert statistics["discriminator/not_finite"] == pytest.approx(1 / 4) and statistics["generator/not_finite"] == 0


def test_bytes_are_images_from_minus_one_to_one():
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (4, 1, 8, 8), generator=draw, dtype=torch.uint8)
    pixels[0, 0, 0, :2] = torch.tensor([0, 255])
    labels = torch.tensor([0, 1, 2, 0])
    floats = (pixels.double() - 127.5) / 127.5
    assert floats.min() == -1 and floats.max() == 1
    from_bytes = play(seated(tiny.game()), [(pixels, labels)])
    from_floats = play(seated(tiny.game()), [(floats, labels)])
    assert tiny.distance(from_bytes.state_dict(), from_floats.state_dict()) < 1e-12


@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_of_any_kind_are_taken(precision, dtype):
    module = play(seated(tiny.game(precision=precision)), tiny.batches(2, 4, dtype))
    assert module.clock.nimg == 8 and module.statistics.read()["discriminator/not_finite"] == 0


def test_bf16_is_close_to_fp32_and_keeps_weights_and_losses_in_full():
    kinds = {}
    for precision in ("fp32", "bf16"):
        module = seated(dcgan_game(precision=precision, regularizers={"r1": R1(weight=1.0)}))
        images, labels = next(dcgan_batches(1, 16, torch.float32))
        logits = module.score(images, labels)
        fake = module.generate(*module.draw_latents(16, module.noise(0), "x"))
        module.training_step((images, labels), 0)
        gradient = torch.cat(
            [p.grad.flatten() for p in [*module.generator.parameters(), *module.discriminator.parameters()]]
        )
        kinds[precision] = (logits.detach(), fake.detach(), gradient, module.statistics.read())
        assert logits.dtype == fake.dtype == gradient.dtype == torch.float32
        assert {tensor.dtype for tensor in module.state_dict().values() if tensor.is_floating_point()} == {
            torch.float32
        }
    (logits, fake, gradient, statistics), (low_logits, low_fake, low_gradient, low_statistics) = kinds.values()
    for full, low, band in ((logits, low_logits, 0.02), (fake, low_fake, 0.02), (gradient, low_gradient, 0.1)):
        assert 1e-4 < (low - full).norm() / full.norm() < band  # bf16 has 8 bits: it is not the same
    assert low_statistics == pytest.approx(statistics, rel=0.02, abs=0.01)


@pytest.mark.parametrize("classes", [0, 3])
def test_image_i_of_a_seed_is_the_same_for_any_number(classes):
    module = loud(play(seated(dcgan_game(classes)), dcgan_batches(2)))
    many = module.sample(130, seed=5)
    assert many.dtype == torch.uint8 and many.shape == (130, 1, 16, 16) and len(many.unique()) > 10
    for n in (1, 63, 64, 65):
        assert torch.equal(module.sample(n, seed=5), many[:n])
    assert not torch.equal(module.sample(4, seed=6), many[:4])
    assert len({image.numpy().tobytes() for image in many}) == 130
    with pytest.raises(UserError, match="n: 0 images"):
        module.sample(0)


def test_samples_are_the_averaged_generators_on_latents_of_their_own():
    module = loud(play(seated(dcgan_game(3)), dcgan_batches(2)))
    latents = Noise(5, 0, dtype=torch.float64).normal("sample latents", 64, 6)
    labels = torch.tensor([2, 0] * 32)
    with torch.no_grad():
        expected = ((module.ema.eval()(latents, labels).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    before = state(module)
    assert torch.equal(module.sample(9, seed=5, labels=[2, 0]), expected[:9])
    assert tiny.distance(state(module), before) == 0


def test_labels_that_are_none_are_refused():
    with pytest.raises(UserError, match=r"labels: 3, -1: no such class; write numbers from 0 to 2"):
        dcgan_game(3).sample(4, labels=[0, 3, -1])
    with pytest.raises(UserError, match="trained without classes"):
        dcgan_game().sample(4, labels=[0])
    with pytest.raises(UserError, match="labels: none"):
        dcgan_game(3).sample(4, labels=[])


@pytest.mark.parametrize(
    ("n", "ratio", "of", "share"),
    [(6, 1.0, "real", 6), (8, 0.75, "generator", 6), (4, 0.1, "generator", 0)],
)
def test_a_batch_that_is_no_whole_number_of_groups_is_refused(n, ratio, of, share):
    module = seated(tiny.game(group=4, generator_batch=ratio))
    with pytest.raises(UserError, match=rf"{of}: a batch of {share} images .* multiple of train\.group, 4"):
        play(module, tiny.batches(1, n))


@pytest.mark.parametrize("name", ["loss", "real_logit", "not_finite"])
def test_a_penalty_cannot_take_the_name_of_another_statistic(name):
    with pytest.raises(UserError, match=f"regularizers: {name}"):
        tiny.game(regularizers={name: R1(weight=1.0)})


def test_latents_are_fresh_for_each_player_and_step():
    module, drawn = seated(tiny.game(discriminator_steps=2)), []
    draw = module.draw_latents
    module.draw_latents = lambda n, noise, name: drawn.append(draw(n, noise, name)) or drawn[-1]
    play(module, tiny.batches(4, 4))
    rows = torch.cat([latents for latents, _ in drawn])
    assert len(drawn) == 6 and len(rows.unique(dim=0)) == 24

"""ADA's operations against maps of numpy and closed forms, its heuristic to the digit, and DiffAugment."""

import math
from functools import reduce

import numpy as np
import pytest
import tiny
import torch
from scipy import stats

from ganlab.augment import ADA, Adaptive, DiffAugment, bands, colour, corruption, diffaugment, geometry
from ganlab.objectives import LeastSquares, RelativisticPaired, Wasserstein
from ganlab.schedules import Linear
from ganlab.seeding import Noise
from ganlab.types import UserError

ALL = {"filter": 1.0, "noise": 1.0, "cutout": 1.0}


def noise(nimg=0):
    return Noise(3, nimg, dtype=torch.float64)


def smooth(height, width=None):
    """A function of places in [-1, 1]^2, and images of it [1, 1, h, w]."""

    def value(y, x):
        return np.sin(2 * x + 0.3) * np.cos(1.5 * y) + 0.4 * np.sin(3 * x * y)

    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width or height), indexing="ij")
    return value, torch.from_numpy(value(y, x))[None, None]


# --- geometry

N, H, W = 4000, 24, 32


def forward(of, coins, draws, normal):
    """The map of places of the image to places of the result, in pixels from the centre; of one image."""
    mirror, quarter, shift, scale, before, stretch, after, move = coins
    side, quarters, right, down, first, second = draws
    larger, wider, further, lower = normal

    def turn(angle):
        return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])

    def move_by(x, y):
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])

    steps = [
        np.diag([-1.0 if mirror and side >= 0.5 else 1.0, 1, 1]),
        turn(-math.pi / 2 * int(4 * quarters) * quarter),
        move_by(*np.round([(right * 2 - 1) * 0.125 * W, (down * 2 - 1) * 0.125 * H]) * shift),
        np.diag([*[2 ** (0.2 * larger * scale)] * 2, 1]),
        turn(-math.pi * (2 * first - 1) * before),
        np.diag([2 ** (0.2 * wider * stretch), 2 ** (-0.2 * wider * stretch), 1]),
        turn(-math.pi * (2 * second - 1) * after),
        move_by(further * 0.125 * W * move, lower * 0.125 * H * move),
    ]
    return reduce(lambda done, step: step @ done, steps if of is None else [steps[of]])


@pytest.mark.parametrize("of", [None, *range(8)])
def test_a_geometric_map_is_the_inverse_of_its_operations(of):
    uniform, normal = noise().uniform("u", N, 14), noise().normal("n", N, 4)
    if of is not None:  # the coins of the others are tails
        uniform[:, [k for k in range(8) if k != of]] = 1.0
    p = 0.4
    inverse = geometry.inverse_maps(uniform, normal, *[torch.full((N,), p).double()] * 2, H, W)
    turn = 1 - math.sqrt(1 - p)
    heads = uniform[:, :8] < torch.tensor([p, p, p, p, turn, p, turn, p])
    for i in range(40):
        theirs = forward(of, heads[i].numpy(), uniform[i, 8:].numpy(), normal[i].numpy())
        np.testing.assert_allclose(inverse[i].numpy() @ theirs, np.eye(2, 3), atol=1e-12)
    if of is not None:
        moved = int((inverse != torch.eye(2, 3)).any(2).any(1).sum())
        shares = [p / 2, 3 * p / 4, p * (1 - (1 / 8) * (1 / 6)), p, turn, p, turn, p]  # some moves are by 0
        assert stats.binomtest(moved, N, shares[of]).pvalue > 1e-3, moved / N


def maps(*rows):
    return torch.tensor(rows, dtype=torch.float64)[None]


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 1, 4, 4), (1, 4, 12, 20), (1, 3, 5, 9)])
def test_what_is_shifted_by_whole_pixels_is_exact_and_goes_on_as_its_reflection(shape):
    images = noise().normal("x", *shape)
    shifted = geometry.warped(images, maps([1, 0, 1.0], [0, 1, -2.0]))
    torch.testing.assert_close(shifted[..., 2:, :-1], images[..., :-2, 1:], rtol=0, atol=1e-11)
    assert torch.equal(geometry.warped(images, maps([1, 0, 0], [0, 1, 0])), images)
    padded = geometry.padded(images, 2)
    torch.testing.assert_close(padded, torch.nn.functional.pad(images, [2] * 4, mode="reflect"))


@pytest.mark.parametrize(
    ("rows", "within"),
    [
        (([-1, 0, 0], [0, 1, 0]), 1e-2),
        (([0, -1, 0], [1, 0, 0]), 1e-2),
        (([0.9, 0.3, 0.4], [-0.3, 0.9, -0.7]), 6e-3),
        (([0.7, 0, 1.5], [0, 0.8, 0.0]), 6e-3),
    ],
    ids=["mirrored", "quarter turn", "turned and moved", "larger"],
)
def test_a_warped_image_is_the_function_at_the_mapped_places(rows, within):
    size = 48
    value, images = smooth(size)
    warped = geometry.warped(images, maps(*rows))[0, 0].numpy()
    half = (size - 1) / 2
    y, x = np.meshgrid(np.arange(size) - half, np.arange(size) - half, indexing="ij")
    at_x, at_y = (rows[k][0] * x + rows[k][1] * y + rows[k][2] for k in (0, 1))
    inside = (abs(at_x) < half - 3) & (abs(at_y) < half - 3)
    expected = value(at_y / half, at_x / half)
    assert inside.mean() > 0.5 and abs(warped - expected)[inside].max() < within
    assert abs(images[0, 0].numpy() - expected)[inside].max() > 0.1


# --- colour


def colours(of, coins, draws, normal):
    brightness, contrast, luma, hue, saturation = coins
    v = np.array([1, 1, 1, 0]) / math.sqrt(3)
    grey = np.outer(v, v)
    angle = math.pi * (2 * draws[1] - 1) * hue
    cross = np.array([[0, -v[2], v[1], 0], [v[2], 0, -v[0], 0], [-v[1], v[0], 0, 0], [0, 0, 0, 0]])
    turn = np.eye(4) * np.cos(angle) + np.sin(angle) * cross + (1 - np.cos(angle)) * grey
    turn[3, 3] = 1
    move, strong = np.eye(4), 2 ** (0.5 * normal[1] * contrast)
    move[:3, 3] = 0.2 * normal[0] * brightness
    steps = [
        move,
        np.diag([strong, strong, strong, 1]),
        np.eye(4) - 2 * grey * (luma and draws[0] >= 0.5),
        turn,
        grey + (np.eye(4) - grey) * 2 ** (normal[2] * saturation),
    ]
    return reduce(lambda done, step: step @ done, steps if of is None else [steps[of]])


@pytest.mark.parametrize("of", [None, *range(5)])
def test_a_colour_map_is_the_product_of_its_operations(of):
    uniform, normal = noise().uniform("u", N, 7), noise().normal("n", N, 3)
    if of is not None:
        uniform[:, [k for k in range(5) if k != of]] = 1.0
    p = torch.full((N,), 0.3).double()
    found = colour.colour_maps(uniform, normal, p)
    heads = (uniform[:, :5] < 0.3).numpy()
    for i in range(40):
        theirs = colours(of, heads[i], uniform[i, 5:].numpy(), normal[i].numpy())
        own, after, last, offset = found[i].tolist()
        circle = [[own, after, last, offset], [last, own, after, offset], [after, last, own, offset]]
        np.testing.assert_allclose(circle, theirs[:3], atol=1e-12)
    if of is not None:
        moved = int((found != torch.eye(4)[0]).any(1).sum())
        assert stats.binomtest(moved, N, [0.3, 0.3, 0.15, 0.3, 0.3][of]).pvalue > 1e-3


def test_luma_flips_and_half_turns_of_hue_undo_themselves():
    images = noise().normal("x", 2, 3, 4, 5)
    coins = torch.tensor([[1.0, 1, 0, 1, 1, 0.9, 0.5], [1, 1, 1, 0, 1, 0.5, 1.0]]).double()  # luma; hue by pi
    normal, p = torch.zeros(2, 3).double(), torch.full((2,), 0.5).double()
    once = colour.recoloured(images, coins, normal, p)
    assert (once - images).abs().amax((1, 2, 3)).min() > 0.5
    torch.testing.assert_close(colour.recoloured(once, coins, normal, p), images)


def test_grey_images_get_what_their_map_makes_of_grey_and_alpha_stays():
    uniform, normal = noise().uniform("u", 64, 7), noise().normal("n", 64, 3)
    grey, p = noise().normal("x", 64, 1, 5, 4), torch.ones(64).double()
    coloured = colour.recoloured(grey.expand(-1, 3, -1, -1), uniform, normal, p)
    torch.testing.assert_close(colour.recoloured(grey, uniform, normal, p), coloured.mean(1, keepdim=True))
    alpha = torch.cat([grey.expand(-1, 3, -1, -1), grey], 1)
    torch.testing.assert_close(colour.recoloured(alpha, uniform, normal, p), torch.cat([coloured, grey], 1))


# --- bands, noise, boxes


def test_the_bands_are_octaves_that_add_up_to_the_image():
    bank = bands.filter_bank(torch.zeros(()))
    assert bank.shape == (4, 43) and bank.sum(0).abs().sum().item() == pytest.approx(1, abs=1e-10)
    angles = torch.tensor([0.0, 0.18, 0.36, 0.97]).double() * math.pi  # one in each octave, the first at 0
    lags = torch.arange(-21, 22).double()
    response = (bank[:, None] * (lags * angles[:, None]).cos()).sum(2)  # band angle
    assert (response.argmax(0) == torch.arange(4)).all() and response.diag().min() > 0.7


def test_amplified_bands_keep_the_expected_power():
    uniform = torch.tensor([[1.0, 1, 1, 1], [0, 1, 1, 1], [1, 1, 0, 1], [0, 0, 0, 0]]).double()
    normal = torch.tensor([[3.0, 3, 3, 3], [1, 9, 9, 9], [9, 9, -1, 9], [1, -1, 2, 0.5]]).double()
    power = np.array([10, 1, 1, 1]) / 13
    expected = np.ones((4, 4))
    for i, changed in enumerate([{}, {0: 2.0}, {2: 0.5}, {0: 2.0, 1: 0.5, 2: 4.0, 3: 2**0.5}]):
        for band, factor in changed.items():
            own = np.ones(4)
            own[band] = factor
            expected[i] *= own / np.sqrt((power * own**2).sum())
    p = torch.full((4,), 0.5).double()
    np.testing.assert_allclose(bands.gains(uniform, normal, p).numpy(), expected, rtol=1e-12)
    images = torch.ones(4, 3, 6, 10).double()
    found = bands.amplified(images, uniform, normal, p)
    assert torch.equal(found[0], images[0])
    constant = torch.tensor(expected[:, 0] ** 2)  # along both axes
    torch.testing.assert_close(found, constant.view(-1, 1, 1, 1).expand_as(found), rtol=1e-9, atol=1e-9)


def test_noise_has_a_deviation_of_its_own_in_each_image():
    uniform, normal = noise().uniform("u", N, 1), noise().normal("n", N, 1)
    images = torch.zeros(N, 1, 8, 8).double()
    found = corruption.noised(images, uniform, normal, noise().normal("e", *images.shape), torch.full((N,), 0.3))
    std = found.std((1, 2, 3))
    assert stats.binomtest(int((std > 0).sum()), N, 0.3).pvalue > 1e-3
    noised = std > 0
    ratio = std[noised] / (0.1 * normal[noised, 0].abs())
    assert ratio.mean().item() == pytest.approx(1, abs=0.02) and ratio.std() < 0.15


def test_cutout_is_half_of_both_sides_and_may_overhang():
    uniform = noise().uniform("u", N, 3)
    found = corruption.cut_out(torch.ones(N, 1, 10, 20).double(), uniform, torch.full((N,), 0.6))
    covered = found[:, 0] == 0
    for i in range(100):
        coin, x, y = uniform[i].tolist()
        expected = [
            [coin < 0.6 and abs((r + 0.5) / 10 - y) < 0.25 and abs((c + 0.5) / 20 - x) < 0.25 for c in range(20)]
            for r in range(10)
        ]
        assert covered[i].tolist() == expected
    assert stats.binomtest(int(covered.flatten(1).any(1).sum()), N, 0.6).pvalue > 1e-3
    assert covered.sum((1, 2)).max() == 50


# --- the pipeline


def test_without_probability_the_images_stay_bit_for_bit():
    images = noise().normal("x", 8, 3, 16, 16).float()
    fading = ADA(p=Linear(start=1.0, end=0.0, until_nimg=100), **ALL)
    for nimg, same in ((100, True), (0, False)):
        drawn = fading.draw(images.shape, Noise(0, nimg), "x")
        assert torch.equal(fading(images, drawn), images) == same
    drawn = fading.draw(images.shape, Noise(0, 0), "x")
    assert torch.equal(fading(images, {**drawn, "p": torch.zeros(8)}), images)
    assert not torch.equal(fading(images, drawn), fading(images, fading.draw(images.shape, Noise(0, 0), "y")))


def test_a_kind_that_is_left_out_changes_no_other_kind():
    images, zeros = noise().normal("x", 8, 3, 16, 16), {"blit": 0.0, "geometry": 0.0, "colour": 0.0}
    cut = ADA(p=1.0, **zeros, cutout=1.0)
    found = cut(images, cut.draw(images.shape, noise(), "x"))
    whole = ADA(p=1.0, **ALL)
    drawn = whole.draw(images.shape, noise(), "x")
    assert torch.equal(found == 0, whole(images, drawn) == 0) and ((found == 0) | (found == images)).all()
    assert torch.equal(ADA(p=1.0, **zeros)(images, drawn), images)


@pytest.mark.parametrize("augment", [ADA(p=0.7, **ALL), DiffAugment()], ids=["ADA", "DiffAugment"])
def test_gradients_equal_finite_differences_once_and_twice(augment):
    images = noise().normal("x", 4, 3, 6, 8).requires_grad_()
    drawn = augment.draw(images.shape, noise(), "x")

    def loss(images):
        return augment(images, drawn).sin()

    assert torch.autograd.gradcheck(loss, images, fast_mode=True, atol=1e-6)
    assert torch.autograd.gradgradcheck(loss, images, fast_mode=True, atol=1e-6)


# --- the probability


def told(logits, count, p=0.0):
    """P after steps with some logits of reals, after each."""
    adaptive = Adaptive()
    memory, found = torch.tensor([p, 0, 0]).double(), []
    for step in range(count):
        adaptive.remember(memory, torch.as_tensor(logits[step % len(logits)]).double(), step)
        found.append(memory[0].item())
    return found


def test_the_probability_moves_by_exactly_its_share_every_fourth_step():
    step = 64 * 4 / 500_000
    assert told([[1.0] * 64], 9) == pytest.approx([0] * 3 + [step] * 4 + [2 * step] * 2, rel=1e-12)
    assert told([[1.0] * 64], 4, p=3.0)[-1] == pytest.approx(3 + step)  # it may pass 1
    assert told([[-1.0] * 64], 4, p=step / 2) == pytest.approx([step / 2] * 3 + [0])  # and is never below 0
    assert told([[5.0] * 52 + [-5.0] * 12], 4)[-1] == pytest.approx(step)  # r = 0.625
    assert told([[5.0] * 51 + [-5.0] * 13], 4, 0.5)[-1] == pytest.approx(0.5 - step)  # r = 0.594
    assert told([[1.0] * 64] * 3 + [[math.nan] * 64], 4)[-1] == pytest.approx(step)  # r = 0.75
    assert told([[[1.0] * 25] * 32], 4)[-1] == pytest.approx(step / 2)  # 25 logits of each of 32 images


def test_the_probability_is_recorded_saved_and_fed_back():
    module = tiny.game(augment=ADA(p=Adaptive(target=-1.0, over_nimg=64)))
    module.configure_optimizers()
    for number, batch in enumerate(tiny.batches(5, 8)):
        module.training_step(batch, number)
    assert module.state_dict()["augment_memory"][0].item() == pytest.approx(4 * 8 / 64)
    assert module.statistics.read()["discriminator/augment_p"] == pytest.approx(0.5 / 5)
    scheduled = tiny.game(augment=ADA(p=Linear(start=0.0, end=1.0, until_nimg=80)))
    scheduled.configure_optimizers()
    for number, batch in enumerate(tiny.batches(5, 8)):
        scheduled.training_step(batch, number)
    assert scheduled.statistics.read()["discriminator/augment_p"] == pytest.approx(0.2)
    assert "augment_memory" not in scheduled.state_dict()


@pytest.mark.parametrize("objective", [LeastSquares(), Wasserstein(), RelativisticPaired()])
def test_logits_without_a_sign_feed_nothing_back(objective):
    with pytest.raises(UserError, match=rf"{type(objective).__name__}; write p: a number or a schedule"):
        tiny.game(objective=objective, augment=ADA())
    tiny.game(objective=objective, augment=ADA(p=0.2))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ADA(p=-0.1), "augment.p: -0.1: must not be negative"),
        (lambda: ADA(colour=-1.0, noise=-2.0), "augment.colour: -1.0, noise: -2.0"),
        (lambda: Adaptive(target=1.5), "target: 1.5"),
        (lambda: Adaptive(over_nimg=0), "over_nimg: 0"),
        (lambda: DiffAugment(cutout=1.5), "augment.cutout: 1.5"),
        (lambda: ADA(p=0.5).draw((4, 2, 1, 1), noise(), "x"), "ADA, but images of 2x1x1"),
    ],
)
def test_bad_values_are_refused(make, complaint):
    with pytest.raises(UserError) as error:
        make()
    assert complaint in str(error.value)


# --- DiffAugment


def test_diffaugment_in_the_middle_of_its_draws_changes_nothing():
    images = noise().normal("x", 5, 3, 8, 12)
    middle = {"uniform": torch.full((5, 7), 0.5).double()}
    torch.testing.assert_close(DiffAugment(cutout=0.0)(images, middle), images)
    assert torch.equal(DiffAugment(colour=False, translation=0.0, cutout=0.0)(images, middle), images)
    covered = DiffAugment(colour=False, translation=0.0)(images, middle) == 0
    assert covered[:, :, 2:6, 3:9].all() and covered.sum() == 5 * 3 * 24


def test_diffaugments_colours_are_those_of_the_formulas():
    images, (b, s, c) = noise().normal("x", 1, 3, 4, 5), (0.1, 0.8, 0.3)
    x = images[0].numpy() + b - 0.5
    x = (x - x.mean(0)) * 2 * s + x.mean(0)
    x = (x - x.mean()) * (c + 0.5) + x.mean()
    draws = torch.tensor([[b, s, c, 0.5, 0.5, 0.5, 0.5]], dtype=torch.float64)
    found = DiffAugment(translation=0.0, cutout=0.0)(images, {"uniform": draws})
    np.testing.assert_allclose(found[0].numpy(), x, rtol=1e-12)


def test_diffaugment_shifts_every_way_and_zeros_come_in():
    images, draws = 2 + noise().uniform("x", N, 1, 8, 16), noise().uniform("u", N, 2)
    found = diffaugment.shifted(images, draws[:, 0], draws[:, 1], 0.125)
    counts = {}
    for i in range(N):
        x, y = (int(u * k) - k // 2 for u, k in zip(draws[i].tolist(), (5, 3), strict=True))
        counts[x, y] = counts.get((x, y), 0) + 1
        expected = torch.roll(images[i], (y, x), (1, 2))
        expected[:, : max(y, 0)] = expected[:, 8 + min(y, 0) :] = 0
        expected[..., : max(x, 0)] = expected[..., 16 + min(x, 0) :] = 0
        assert torch.equal(found[i], expected)
    assert len(counts) == 15 and stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize(("size", "share"), [(8, 0.5), (9, 0.5), (32, 0.2), (5, 0.2)])
def test_diffaugments_box_is_cut_off_at_the_border(size, share):
    side = int(size * share + 0.5)
    draws = noise().uniform("u", N, 2)
    covered = diffaugment.covered(torch.ones(N, 1, size, size), draws[:, 0], draws[:, 1], share)[:, 0] == 0
    for axis in (draws * (size + 1 - side % 2)).int().T:  # every offset is drawn
        assert set(axis.tolist()) == set(range(size + 1 - side % 2))
    for i in range(300):
        at = [int(u * (size + 1 - side % 2)) for u in draws[i].tolist()]  # x, y
        grid = [[min(max(k + a - side // 2, 0), size - 1) for k in range(side)] for a in at]
        expected = torch.zeros(size, size, dtype=torch.bool)
        for row in grid[1]:
            expected[row, grid[0]] = True
        assert torch.equal(covered[i], expected)
    assert covered.float().mean((1, 2)).max() <= (side / size) ** 2 + 1e-6

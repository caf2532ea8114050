"""Layers against torch's own, explicit loops, singular values and finite differences. Several ranks: test_parity.py."""

import jobs
import numpy as np
import pytest
import torch
from launched.batchnorm import RANKS, passes
from torch import nn
from torch.autograd import gradcheck
from torch.nn import functional as F

from ganlab.layers.batchnorm import BatchNorm, ConditionalBatchNorm
from ganlab.layers.leaky import LeakyReLU
from ganlab.layers.minibatch import MinibatchStd
from ganlab.layers.spectral import SpectralNorm, as_matrix, iterate_power, spectral_norm
from ganlab.regularizers import input_gradient


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def theirs_like(ours: BatchNorm, channels: int) -> nn.BatchNorm2d:
    theirs = nn.BatchNorm2d(channels, eps=ours.eps, momentum=ours.momentum).double()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    return theirs


def test_batch_norm_on_one_process_is_torchs() -> None:
    ours = BatchNorm(3, eps=2e-5).double()
    nn.init.normal_(ours.weight)
    theirs = theirs_like(ours, 3)
    for _ in range(3):
        images = torch.randn(8, 3, 4, 4, dtype=torch.float64) * 3 + 1
        assert torch.equal(ours(images), theirs(images))
    assert torch.equal(ours.running_mean, theirs.running_mean)
    assert torch.equal(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(images), theirs.eval()(images))


def test_batch_norm_over_groups_is_torchs_on_each_group() -> None:
    ours = BatchNorm(3, group=4).double()
    nn.init.normal_(ours.weight)
    images = torch.randn(12, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    copies = [theirs_like(ours, 3) for _ in range(3)]
    expected = torch.cat([copy(piece) for copy, piece in zip(copies, images.split(4), strict=True)])
    torch.testing.assert_close(ours(images), expected, rtol=0, atol=1e-12)
    out_gradient = torch.randn_like(expected)
    (theirs,) = torch.autograd.grad(expected, images, out_gradient)
    (own,) = torch.autograd.grad(ours(images), images, out_gradient)
    torch.testing.assert_close(own, theirs, rtol=0, atol=1e-12)
    fresh = BatchNorm(3, group=4).double()
    fresh(images)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(copy, name) for copy in copies]).mean(0)
        torch.testing.assert_close(getattr(fresh, name), mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("group", [None, 2])
def test_a_penalty_through_batch_norm_without_running_statistics_has_the_right_gradient(group: int | None) -> None:
    layer = BatchNorm(2, group=group, running=False).double()

    def penalty(images: torch.Tensor) -> torch.Tensor:
        gradient, _ = input_gradient(lambda x: layer(x).pow(3).sum((1, 2, 3)), images)
        return gradient.square().sum()

    assert gradcheck(penalty, torch.randn(4, 2, 2, 2, dtype=torch.float64, requires_grad=True))


@pytest.fixture(scope="module")
def over_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], list[dict[str, dict]]]:
    """Batches whose halves differ, and what two processes make of a half each."""
    folder, draw = tmp_path_factory.mktemp("ranks"), torch.Generator().manual_seed(0)
    halves = torch.randn(2, 6, 3, 4, 4, dtype=torch.float64, generator=draw) * torch.tensor([1.0, 3.0]).view(
        2, 1, 1, 1, 1
    )
    ordinary = (halves + torch.tensor([0.5, -2.0]).view(2, 1, 1, 1, 1)).flatten(0, 1)
    far = torch.randn(12, 3, 4, 4, dtype=torch.float64, generator=draw) * 0.1 + 1000
    images = {"ordinary": ordinary, "far": far, "far in float32": far.float()}
    torch.save(images, folder / "images.pt")
    jobs.launch("batchnorm.py", folder)
    return images, [torch.load(folder / f"{number}.pt") for number in range(RANKS)]


def whole(ranks: list[dict[str, dict]], name: str) -> dict[str, torch.Tensor]:
    """Put together what the processes found of their parts: the gradients of weight and bias are sums."""
    together = {part: torch.cat([rank[name][part] for rank in ranks]) for part in ("out", "slope", "image")}
    return together | {part: sum(rank[name][part] for rank in ranks) for part in ("weight", "bias")}


@pytest.mark.multi
@pytest.mark.parametrize("name", ["ordinary", "far"])
def test_batch_norm_over_ranks_is_torchs_on_one_process_to_second_order(over_ranks, name: str) -> None:
    images, ranks = over_ranks
    expected, found = passes(nn.BatchNorm2d(3).double(), images[name]), whole(ranks, name)
    scale = 1.0 if name == "ordinary" else 1e6  # of rounding: the data are a million roundings of their deviation away
    for part, tensor in found.items():
        torch.testing.assert_close(tensor, expected[part], rtol=1e-12 * scale, atol=1e-12 * scale)
    for rank in ranks:
        for part in ("mean", "var"):
            torch.testing.assert_close(rank[name][part], expected[part], rtol=1e-12, atol=1e-12)
            assert torch.equal(rank[name][part], ranks[0][name][part]), "the ranks must hold the same bits"


@pytest.mark.multi
def test_batch_norm_over_ranks_in_float32_is_as_exact_far_from_zero_as_torchs(over_ranks) -> None:
    images, ranks = over_ranks
    truth = passes(nn.BatchNorm2d(3).double(), images["far in float32"].double())
    theirs, ours = passes(nn.BatchNorm2d(3), images["far in float32"]), whole(ranks, "far in float32")
    for part in ("out", "slope"):
        error, allowed = ((found[part] - truth[part]).abs().max() for found in (ours, theirs))
        assert error <= 2 * allowed + 1e-6, (part, error, allowed)


def like_batch_norm(channels: int, classes: int, group: int | None) -> tuple[ConditionalBatchNorm, BatchNorm]:
    """Make a conditional batch norm of random gains and biases, and the plain one of its class 2."""
    ours, plain = ConditionalBatchNorm(channels, classes, group=group), BatchNorm(channels, group=group)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    plain.load_state_dict(ours.state_dict() | {"weight": ours.weight[2], "bias": ours.bias[2]})
    return ours.double(), plain.double()


@pytest.mark.parametrize("group", [None, 4])
def test_conditional_batch_norm_begins_as_batch_norm_whatever_the_class(group: int | None) -> None:
    ours, plain = ConditionalBatchNorm(3, 7, group=group).double(), BatchNorm(3, group=group).double()
    images, labels = torch.randn(8, 3, 4, 4, dtype=torch.float64), torch.arange(8) % 7
    torch.testing.assert_close(ours(images, labels), plain(images), rtol=0, atol=1e-14)
    torch.testing.assert_close(ours.eval()(images, labels), plain.eval()(images), rtol=0, atol=1e-14)


@pytest.mark.parametrize("group", [None, 4])
def test_conditional_batch_norm_of_one_class_is_that_classs_batch_norm(group: int | None) -> None:
    ours, plain = like_batch_norm(3, 5, group)
    images = torch.randn(8, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    labels, weights = torch.full((8,), 2), torch.randn(8, 3, 4, 4, dtype=torch.float64)
    outputs = ours(images, labels), plain(images)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours, name), getattr(plain, name), rtol=0, atol=1e-14)
    torch.testing.assert_close(ours.eval()(images, labels), plain.eval()(images), rtol=0, atol=1e-12)
    (to_image, *own), (expected, *theirs) = (
        torch.autograd.grad((out * weights).sum(), [images, layer.weight, layer.bias])
        for out, layer in zip(outputs, (ours, plain), strict=True)
    )
    torch.testing.assert_close(to_image, expected, rtol=0, atol=1e-12)
    for table, row in zip(own, theirs, strict=True):
        torch.testing.assert_close(table[2], row, rtol=0, atol=1e-12)
        assert (table[[0, 1, 3, 4]] == 0).all()


def test_conditional_batch_norm_scales_each_image_by_its_class_and_keeps_the_dtype() -> None:
    layer, _ = like_batch_norm(2, 3, None)
    images, labels = torch.randn(6, 2, 4, 4, dtype=torch.float64), torch.tensor([2, 0, 1, 1, 0, 2])
    out = layer(images, labels)
    mean, std = images.mean((0, 2, 3)), (images.var((0, 2, 3), correction=0) + 1e-5).sqrt()
    for n, label in enumerate(labels.tolist()):
        for c in range(2):
            expected = (images[n, c] - mean[c]) / std[c] * layer.weight[label, c] + layer.bias[label, c]
            torch.testing.assert_close(out[n, c], expected)
    assert layer.float()(images.bfloat16(), labels).dtype == torch.bfloat16


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [*((kind, (3, 8, 3)) for kind in CONVOLUTIONS + TRANSPOSED), (nn.Linear, (12, 5)), (nn.Embedding, (7, 4))],
)
def test_spectral_norm_divides_by_the_largest_singular_value(kind: type[nn.Module], sizes: tuple[int, ...]) -> None:
    layer = kind(*sizes)  # made here, after the seed: how fast the iteration converges hangs on the weights
    raw = layer.weight.detach().clone()
    spectral_norm(layer)
    for _ in range(300):
        iterate_power(layer)
    outputs_first = raw.numpy().swapaxes(0, 1) if kind in TRANSPOSED else raw.numpy()
    sigma = float(np.linalg.svd(outputs_first.reshape(len(outputs_first), -1), compute_uv=False)[0])
    torch.testing.assert_close(layer.weight, raw / sigma, rtol=1e-4, atol=1e-6)
    assert torch.equal(layer.weight, layer.weight), "a forward must change nothing"


@pytest.mark.parametrize("transposed", [False, True])
def test_the_matrix_of_a_channels_last_weight_is_a_view(transposed: bool) -> None:
    weight = torch.randn(4, 6, 3, 3).to(memory_format=torch.channels_last)
    assert as_matrix(weight, transposed).untyped_storage().data_ptr() == weight.untyped_storage().data_ptr()


def test_the_estimate_follows_a_weight_that_moves() -> None:
    layer = spectral_norm(nn.Conv2d(8, 16, 3))
    optimizer = torch.optim.Adam(layer.parameters(), lr=2e-4)
    for _ in range(100):
        iterate_power(layer)
        optimizer.zero_grad()
        (layer(torch.randn(4, 8, 6, 6)) - torch.randn(4, 16, 4, 4)).square().mean().backward()
        optimizer.step()
        largest = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]
        assert abs(largest - 1) < 0.05


def test_the_gradient_through_spectral_norm_takes_u_and_v_as_constants() -> None:
    weight = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    norm = SpectralNorm(weight)
    assert norm.u.dtype == torch.float64
    assert gradcheck(norm, weight)


def test_sigma_stays_in_float32_under_autocast() -> None:
    layer = spectral_norm(nn.Linear(64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.weight.dtype == torch.float32
        before = layer.weight.clone()
        iterate_power(layer)
    largest = torch.linalg.svdvals(layer.weight.detach())[0]
    assert abs(largest - torch.linalg.svdvals(before.detach())[0]) < 0.05


@pytest.mark.parametrize("group", [1, 2, 4])
def test_minibatch_std_is_the_formula_of_the_paper(group: int) -> None:
    images = torch.randn(8, 3, 4, 4, dtype=torch.float64)
    out = MinibatchStd(group)(images)
    assert torch.equal(out[:, :3], images)
    for start in range(0, 8, group):
        members = images[start : start + group].numpy()
        expected = ((members.var(axis=0) + 1e-8) ** 0.5).mean()
        assert abs(out[start : start + group, 3] - expected).max() < 1e-12


def test_leaky_relu_keeps_its_result_alone() -> None:
    """The next convolution keeps that anyway: no memory of its own, and the gradient is that of the formula."""
    images, first, second = torch.randn(2, 3, 4, 4), torch.randn(5, 3, 3, 3).requires_grad_(), torch.randn(1, 5, 3, 3)
    kept: set[int] = set()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.add(x.data_ptr()), x)[1], lambda x: x):
        hidden = LeakyReLU()(F.conv2d(images, first))
        total = F.conv2d(hidden, second.requires_grad_(), padding=1).sum()
    assert kept == {tensor.data_ptr() for tensor in (images, first, hidden, second)}
    (found,) = torch.autograd.grad(total, first)
    raw = F.conv2d(images, first)
    (expected,) = torch.autograd.grad(F.conv2d(raw.where(raw > 0, 0.2 * raw), second, padding=1).sum(), first)
    torch.testing.assert_close(found, expected)

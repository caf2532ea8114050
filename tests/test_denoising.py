"""The denoising autoencoder: its field where the data are normal, and the curl of a field that turns."""

import pytest
import torch
from torch import nn

from ganlab.models import DenoisingAutoencoder
from ganlab.seeding import seed_everything
from ganlab.types import ImageSpec, UserError

PLANE = ImageSpec(1, 1, 2)


@pytest.mark.slow
def test_the_field_of_normal_data_is_the_closed_form():
    seed_everything(0)
    game = DenoisingAutoencoder(image=PLANE, width=32, std=0.3, lr=5e-3, ema_half_life=2_000.0)
    game.configure_optimizers()
    mean, std, draw = torch.tensor([0.2, -0.1]), 0.4, torch.Generator().manual_seed(0)
    for number in range(600):
        points = mean + std * torch.randn(64, 2, generator=draw)
        game.training_step((points[:, :, None, None], torch.full((64,), -1)), number)
    places = mean + std * torch.randn(500, 2, generator=draw)
    with torch.no_grad():
        ways, curl = game.field(places)
    expected = (mean - places) * 0.3**2 / (0.4**2 + 0.3**2)
    assert (ways - expected).square().mean().sqrt() < 0.03  # a field of 0 is wrong by 0.14
    assert curl.abs().mean() < 0.1


class Turn(nn.Module):
    """x to x + (-3 y, 3 x)."""

    def forward(self, points):
        x, y = points[:, :1], points[:, 1:]
        return points + 3 * torch.cat([-y, x], 1)


def test_the_curl_of_a_turn_is_twice_its_rate():
    game = DenoisingAutoencoder(image=PLANE)
    game.ema = Turn()
    ways, curl = game.field(torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
    assert ways.tolist() == [[-6.0, 3.0], [3.0, 0.0]] and curl.tolist() == [6.0, 6.0]


def test_points_of_the_plane_are_asked_for():
    with pytest.raises(UserError, match="two coordinates"):
        DenoisingAutoencoder(image=ImageSpec(1, 1, 1))

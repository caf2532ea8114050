"""The first GAN, WGAN, and packs with minibatch discrimination, by hand."""

import math
from statistics import NormalDist

import torch
from by_hand import ByHand, N, Paper, softly

from ganlab.types import ImageSpec

IMAGE = ImageSpec(4, 4, 1)
NONE = torch.full((N,), -1)

GAN = {
    "_target_": "ganlab.models.GAN",
    "generator_width": 8,
    "discriminator_width": 4,
    "latent": 4,
    "generator_lr": {"_target_": "ganlab.schedules.Exponential", "start": 0.2, "factor": 0.9, "every_nimg": 10},
    "discriminator_lr": {"_target_": "ganlab.schedules.Exponential", "start": 0.1, "factor": 0.9, "every_nimg": 10},
    "momentum": {"_target_": "ganlab.schedules.Linear", "start": 0.5, "end": 0.7, "from_nimg": 8, "until_nimg": 60},
}


def maxout_with_dropout(d, images, noise):
    """The discriminator's formula: dropout keeps 80 % of the pixels and half of the units."""
    weights, h = list(d.parameters()), (images.flatten(1) + 1) / 2
    for layer, keep in enumerate((0.8, 0.5, 0.5)):
        part, noise = noise[:, : h.shape[1]], noise[:, h.shape[1] :]
        kept = torch.where(part < NormalDist().inv_cdf(keep), h / keep, torch.zeros_like(h))
        affine = kept @ weights[2 * layer].T + weights[2 * layer + 1]
        h = affine if layer == 2 else torch.stack([affine[:, 5 * k : 5 * k + 5].amax(1) for k in range(4)], 1)
    return h[:, 0]


def gan(loop: ByHand, number, batch):
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    lr, momentum = 0.2 * 0.9 ** (loop.nimg / 10), 0.5 + 0.2 * min(max(loop.nimg - 8, 0) / 52, 1)
    noise = {at: loop.noise().normal(f"discriminator {at} noise", N, 16 + 4 + 4) for at in ("real", "fake")}
    fake = g(loop.latents("discriminator"), NONE)
    real = softly(-maxout_with_dropout(d, batch["real"], noise["real"]))
    of_d = loop.gradients((real + softly(maxout_with_dropout(d, fake.detach(), noise["fake"]))) / 2, "discriminator")
    of_g = loop.gradients(softly(-maxout_with_dropout(d, fake, noise["fake"])), "generator")
    for parameters, gradients in (of_d, of_g):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            velocity = loop.moments[parameter] = momentum * loop.moments.get(parameter, 0) + gradient
            parameter.data -= lr * velocity
    loop.average("generator", 0.0)
    loop.nimg += N


RMSPROP = {"_target_": "torch.optim.RMSprop", "lr": 5e-3}
WGAN = {
    "_target_": "ganlab.models.GANModule",
    "generator": {"_target_": "ganlab.networks.dcgan.Generator", "width": 4, "latent": 4, "norm_group": 4},
    "discriminator": {"_target_": "ganlab.networks.dcgan.Discriminator", "width": 4, "norm_group": 4},
    "objective": {"_target_": "ganlab.objectives.Wasserstein"},
    "optimizers": {"generator": RMSPROP, "discriminator": RMSPROP},
    "constraints": {"clip": {"_target_": "ganlab.constraints.WeightClip", "bound": 0.1}},
    "discriminator_steps": {"_target_": "ganlab.schedules.CriticSteps", "usual": 2, "many": 3, "first": 1, "every": 3},
    "ema_half_life": 50.0,
}


def wgan(loop: ByHand, number, batch):
    g, d = loop.nets["generator"], loop.nets["discriminator"]

    def rmsprop(parameters, gradients):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            square = loop.moments[parameter] = 0.99 * loop.moments.get(parameter, 0) + 0.01 * gradient**2
            parameter.data -= 5e-3 * gradient / (square.sqrt() + 1e-8)

    fake = g(loop.latents("discriminator"), NONE).detach()
    rmsprop(*loop.gradients(d(fake, NONE) - d(batch["real"], NONE), "discriminator"))
    for parameter in d.parameters():
        parameter.data.clamp_(-0.1, 0.1)
    loop.nimg += N
    if number in (2, 4, 6, 9):  # three critic steps, two, two, and three again
        rmsprop(*loop.gradients(-d(g(loop.latents("generator"), NONE), NONE), "generator"))
        loop.average("generator", 0.5 ** ((2 if number in (4, 6) else 3) * N / 50))


ADAM = {"_target_": "torch.optim.Adam", "lr": 2e-3, "betas": [0.5, 0.99]}
PACKED = {
    "_target_": "ganlab.models.GANModule",
    "generator": {"_target_": "ganlab.networks.points.Generator", "width": 8, "latent": 4},
    "discriminator": {
        "_target_": "ganlab.networks.packing.Packed",
        "packing": 2,
        "discriminator": {
            "_target_": "ganlab.networks.points.Discriminator",
            "width": 6,
            "activation": "softplus",
            "kernels": 3,
            "dims": 2,
            "group": 2,
        },
    },
    "objective": {"_target_": "ganlab.objectives.NonSaturating"},
    "optimizers": {"generator": ADAM, "discriminator": ADAM},
    "ema_half_life": 50.0,
}


def of_packs(d, images):
    """The logit of each image's pack, packs being compared two by two."""
    packs = [torch.cat([a.flatten(), b.flatten()]) for a, b in zip(images[::2], images[1::2], strict=True)]
    w, b, kernels, last, bias = d.parameters()
    features = [softly(w @ pack + b) for pack in packs]
    logits = []
    for i, f in enumerate(features):
        near = [
            sum(math.e ** -((f - features[j]) @ kernels[:, k]).abs().sum() for j in (i, i ^ 1))  # itself, its neighbour
            for k in range(3)
        ]
        logits += 2 * [last[0] @ torch.cat([f, torch.stack(near)]) + bias[0]]
    return torch.stack(logits)


def packed(loop: ByHand, number, batch):
    g, d = loop.nets["generator"], loop.nets["discriminator"]
    fake = g(loop.latents("discriminator"), NONE).detach()
    loop.adam("d", loop.gradients(softly(-of_packs(d, batch["real"])) + softly(of_packs(d, fake)), "discriminator"))
    loop.nimg += N
    loop.adam("g", loop.gradients(softly(-of_packs(d, g(loop.latents("generator"), NONE))), "generator"))
    loop.average("generator", 0.5 ** (N / 50))


PAPERS = {
    "GAN": Paper(model=GAN, by_hand=gan, image=IMAGE),
    "PacGAN": Paper(model=PACKED, by_hand=packed, image=IMAGE),
    "WGAN": Paper(model=WGAN, by_hand=wgan, image=ImageSpec(16, 16, 1)),
}

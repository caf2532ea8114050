"""K + 1 classes with feature matching (Salimans et al. 2016), by hand."""

from collections.abc import Mapping

import torch
from by_hand import GROUP, IMAGE, ByHand, N, Paper
from torch import Tensor

MODEL = {
    "_target_": "ganlab.models.SemiSupervisedGAN",
    "width": 8,
    "latent": 4,
    "decay": 0.9,
    "batch_norm_group": GROUP,
}
WIDTHS = (64, 8, 4, 2, 2, 2)


def by_hand(loop: ByHand, number: int, batch: Mapping[str, Tensor]) -> None:
    g, d, none = loop.nets["generator"], loop.nets["discriminator"], torch.full((N,), -1)

    def fakes(player: str) -> Tensor:
        return g(loop.noise().uniform(f"{player} latents", N, 4), none)

    def judged(player: str, images: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """Logits of K + 1 classes, the last 0, and features."""
        noise = loop.noise().normal(f"{player} {kind} noise", N, sum(WIDTHS)).split(WIDTHS, 1)
        x = images.flatten(1) / 2 + 0.5 + 0.3 * noise[0]
        for layer, more in zip(d.hidden, noise[1:], strict=True):
            v = layer.weight
            features = (x @ (layer.gain * v / v.square().sum(1, keepdim=True).sqrt()).T + layer.bias).clamp(min=0)
            x = features + 0.5 * more
        v = d.logits.weight
        logits = x @ (d.logits.gain * v / v.square().sum(1, keepdim=True).sqrt()).T + d.logits.bias
        return torch.cat([logits, torch.zeros(N, 1, dtype=x.dtype)], 1), features

    labelled, _ = judged("discriminator", batch["other"], "labelled")
    p, q = (
        judged("discriminator", images, kind)[0].softmax(1)
        for images, kind in ((batch["real"], "real"), (fakes("discriminator").detach(), "fake"))
    )
    loss = -labelled[:, :3].log_softmax(1)[torch.arange(N), batch["other_labels"]]
    loss = loss - (1 - p[:, 3]).log() / 2 - q[:, 3].log() / 2
    loop.adam("discriminator", loop.gradients(loss, "discriminator"), 3e-3, (0.5, 0.999))
    loop.average("discriminator", 0.9)
    loop.nimg += N
    _, made = judged("generator", fakes("generator"), "fake")
    _, real = judged("generator", batch["real"], "real")
    loss = (made.mean(0) - real.mean(0)).square().mean(0, keepdim=True)
    loop.adam("generator", loop.gradients(loss, "generator"), 3e-3, (0.5, 0.999))
    loop.average("generator", 0.9)


PAPERS = {
    "K+1 classes": Paper(model=MODEL, by_hand=by_hand, other=IMAGE, unlabelled=True, coupled=True, spread=0.2),
}

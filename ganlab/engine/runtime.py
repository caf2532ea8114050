"""The settings that a run gives to every game, whatever the paper."""

from dataclasses import dataclass, replace

import torch

from ganlab.types import ImageSpec, Precision, UserError


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Settings of the run; none of them is a paper's."""

    seed: int = 0
    """Seed of everything that is drawn for a step."""
    attempt: int = 0
    """Number of rollbacks so far. Part of every noise key, so that a rolled-back run draws new noise."""
    micro_batch: int | None = None
    """Samples per process and forward pass, a multiple of `group`; None runs all of them at once. It changes memory,
    not results, except with batch norm over the whole batch, which then normalises over the micro-batch."""
    precision: Precision = "fp32"
    """`bf16` and `fp16` run the networks under autocast; losses, logits, penalties and the passes of penalties stay in
    float32 at least."""
    group: int = 4
    """Consecutive samples that stay on one rank and share a noise key; it must divide every rank's batch."""
    total_nimg: int | None = None
    """Length of the whole run in images, the end of schedules that state none; None if unknown."""
    freeze: tuple[str, ...] = ()
    """Modules of live networks, such as `discriminator.blocks.0`, whose weights stay."""
    other: ImageSpec | None = None
    """Shape and classes of the data's other stream, for models that read `batch.other`; None if there is none."""
    vectors: int = 0
    """Dimensions of `batch.vectors`; 0 if the data have none."""

    def need_other(self, use: str, like: ImageSpec) -> ImageSpec:
        """Return the shape of the data's other stream; UserError if there is none, or its images are not `like` these.

        `use` says what the model takes from there.
        """
        if self.other is None:
            raise UserError(f"data.other: none, but this model takes {use} from there; write data.other: {{url: ...}}")
        if replace(self.other, classes=0) != replace(like, classes=0):
            raise UserError(
                f"data.other: its images, {use}, are {self.other}, but those of data are {like}; pack both alike"
            )
        return self.other

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of parameters, losses and noise."""
        return torch.float64 if self.precision == "fp64" else torch.float32

"""TensorBoard, which reads the files that this writes into the run's folder: `tensorboard --logdir RUN`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ganlab.callbacks.tracker import Scalars, Tracker

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Tracker):
    """Scalars and pictures against images shown, in `tensorboard` below the run's folder."""

    NAME = "TensorBoard"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tensorboard"
        self.writer: SummaryWriter | None = None

    def begin(self, rows: Sequence[Scalars]) -> None:
        """Open a file more; what an earlier one says of later images is not shown."""
        from torch.utils.tensorboard import SummaryWriter

        last = int(rows[-1]["nimg"]) if rows else -1
        self.writer = SummaryWriter(str(self.folder), purge_step=last + 1)

    def log(self, nimg: int, values: Scalars) -> None:
        """Log scalars."""
        assert self.writer is not None
        for name, value in values.items():
            if name != "nimg":
                self.writer.add_scalar(name, value, nimg)

    def show(self, nimg: int, name: str, picture: Path) -> None:
        """Log a picture."""
        assert self.writer is not None
        with Image.open(picture) as image:
            self.writer.add_image(name, np.asarray(image.convert("RGB")), nimg, dataformats="HWC")

    def finish(self) -> None:
        """Write the rest."""
        if self.writer is not None:
            self.writer.close()

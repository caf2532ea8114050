"""A DCGAN that sleeps before its 20th step on the rank that SLEEPER names, and writes the file ASLEEP just before."""

import os
import time
from pathlib import Path

from ganlab import distributed
from ganlab.models import DCGAN


class Sleeper(DCGAN):
    def training_step(self, batch, batch_idx):
        if distributed.rank() == int(os.environ["SLEEPER"]) and self.clock.steps["discriminator"] == 20:
            Path(os.environ["ASLEEP"]).write_text("now")
            time.sleep(1000)
        super().training_step(batch, batch_idx)

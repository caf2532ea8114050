"""A DCGAN that falls asleep on the rank that SLEEPER names, before its 20th step, and a process that lives on."""

import os
import time

from ganlab import distributed
from ganlab.models import DCGAN


class Sleeper(DCGAN):
    def training_step(self, batch, batch_idx):
        if distributed.rank() == int(os.environ["SLEEPER"]) and self.clock.steps["discriminator"] == 20:
            time.sleep(1000)
        super().training_step(batch, batch_idx)

"""What happens beside the game: lines of metrics, grids of samples, checkpoints, W&B, and an orderly end."""

from ganlab.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from ganlab.callbacks.guard import Guard
from ganlab.callbacks.heartbeat import Heartbeat
from ganlab.callbacks.samples import Samples
from ganlab.callbacks.ticks import Ticks
from ganlab.callbacks.tracker import Tracker

__all__ = ["AtomicCheckpointIO", "Checkpoints", "Guard", "Heartbeat", "Samples", "Ticks", "Tracker"]

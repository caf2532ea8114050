"""What happens beside the game: lines of metrics, grids of samples, checkpoints, W&B, and an orderly end."""

from ganlab.callbacks.bad_samples import BadSamples
from ganlab.callbacks.checkpoint import Checkpoints, WriterIO
from ganlab.callbacks.evaluate import Evaluate
from ganlab.callbacks.guard import Guard
from ganlab.callbacks.heartbeat import Heartbeat
from ganlab.callbacks.samples import Samples
from ganlab.callbacks.ticks import NotFiniteError, Ticks
from ganlab.callbacks.tracker import Tracker

__all__ = [
    "BadSamples",
    "Checkpoints",
    "Evaluate",
    "Guard",
    "Heartbeat",
    "NotFiniteError",
    "Samples",
    "Ticks",
    "Tracker",
    "WriterIO",
]

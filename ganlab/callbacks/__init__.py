"""What happens beside the game: metrics, the machine's limit, grids of samples, checkpoints, W&B, an orderly end."""

from ganlab.callbacks.bad_samples import BadSamples
from ganlab.callbacks.checkpoint import Checkpoints, WriterIO
from ganlab.callbacks.evaluate import Evaluate
from ganlab.callbacks.guard import Guard
from ganlab.callbacks.heartbeat import Heartbeat
from ganlab.callbacks.samples import Samples
from ganlab.callbacks.selfcheck import SelfCheck
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
    "SelfCheck",
    "Ticks",
    "Tracker",
    "WriterIO",
]

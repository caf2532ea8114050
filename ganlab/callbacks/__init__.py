"""What happens between rounds: metrics, the machine's limit, checkpoints, evaluations, grids of samples, W&B."""

from ganlab.callbacks.bad_samples import BadSamples
from ganlab.callbacks.checkpoint import Checkpoints
from ganlab.callbacks.evaluate import Evaluate
from ganlab.callbacks.heartbeat import Heartbeat
from ganlab.callbacks.samples import Samples
from ganlab.callbacks.selfcheck import SelfCheck
from ganlab.callbacks.ticks import NotFiniteError, Ticks
from ganlab.callbacks.tracker import Tracker

__all__ = [
    "BadSamples",
    "Checkpoints",
    "Evaluate",
    "Heartbeat",
    "NotFiniteError",
    "Samples",
    "SelfCheck",
    "Ticks",
    "Tracker",
]

"""What happens between rounds: metrics, the machine's limit, checkpoints, evaluations, grids of samples, W&B."""

from ganlab.callbacks.bad_samples import BadSamples
from ganlab.callbacks.checkpoint import Checkpoints
from ganlab.callbacks.evaluate import Evaluations
from ganlab.callbacks.heartbeat import Heartbeat
from ganlab.callbacks.phases import Phases
from ganlab.callbacks.samples import SamplePictures
from ganlab.callbacks.selfcheck import SelfCheck
from ganlab.callbacks.ticks import NotFiniteError, Ticks
from ganlab.callbacks.tracker import Tracker

__all__ = [
    "BadSamples",
    "Checkpoints",
    "Evaluations",
    "Heartbeat",
    "NotFiniteError",
    "Phases",
    "SamplePictures",
    "SelfCheck",
    "Ticks",
    "Tracker",
]

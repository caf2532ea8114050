"""What happens between rounds: metrics, the machine's limit, checkpoints, evaluations, grids of samples, trackers."""

from ganlab.callbacks.bad_samples import BadSamples
from ganlab.callbacks.checkpoint import Checkpoints
from ganlab.callbacks.evaluate import Evaluations
from ganlab.callbacks.heartbeat import Heartbeat
from ganlab.callbacks.phases import Phases
from ganlab.callbacks.samples import SamplePictures
from ganlab.callbacks.selfcheck import SelfCheck
from ganlab.callbacks.table import Table
from ganlab.callbacks.tensorboard import TensorBoard
from ganlab.callbacks.ticks import NotFiniteError, Ticks
from ganlab.callbacks.tracker import Tracker, Trackers
from ganlab.callbacks.wandb_run import WandB

__all__ = [
    "BadSamples",
    "Checkpoints",
    "Evaluations",
    "Heartbeat",
    "NotFiniteError",
    "Phases",
    "SamplePictures",
    "SelfCheck",
    "Table",
    "TensorBoard",
    "Ticks",
    "Tracker",
    "Trackers",
    "WandB",
]

"""Base of callbacks that fire every so many images."""

import logging
from abc import ABC, abstractmethod

from ganlab import distributed
from ganlab.engine.clock import crossed
from ganlab.engine.game import Game
from ganlab.engine.signals import Signals

log = logging.getLogger(__name__)


class EveryImages(ABC):
    """Fires at the first step boundary at or past each multiple of `every` images, and after the last step.

    With `times` it also fires when they say that the first checkpoint is due, unless it has fired before.
    """

    advisory = False
    """If True, a failure is only logged, and the run continues."""

    def __init__(self, every: int, times: Signals | None = None) -> None:
        self.every, self.seen, self.times, self.fired = every, 0, times, False

    @abstractmethod
    def fire(self, module: Game) -> None:
        """Do the callback's work, on every rank."""

    def start(self, module: Game) -> None:
        """Start counting at the clock's time."""
        self.seen = module.clock.nimg

    def due(self, module: Game) -> bool:
        """Tell whether a multiple of `every` was passed since the last round, or it is time for the first one."""
        early = self.times is not None and self.times.early and not self.fired
        return early or crossed(self.every, self.seen, module.clock.nimg)

    def after_step(self, module: Game, last: bool) -> None:
        """Fire if it is due."""
        due = last or self.due(module)
        self.seen = module.clock.nimg
        if due:
            self.fire_now(module)

    def fire_now(self, module: Game) -> None:
        """Fire, after averaging running statistics over the ranks."""
        with module.stopwatch("logging"):
            module.settle()
            self.fired = True
            try:
                self.fire(module)
            except Exception as error:
                if not self.advisory or distributed.is_lost(error):
                    raise
                log.warning("%s failed at %s images: %s", type(self).__name__, f"{module.clock.nimg:,}", error)

    def end(self) -> None:  # noqa: B027 (most have nothing to end)
        """Finish, after the last round or a signal."""

    def failed(self, error: BaseException) -> None:  # noqa: B027
        """Finish after an error."""

"""An event whenever a game enters its next phase: another size, or another batch."""

from ganlab.engine.game import Game
from ganlab.experiment.records import Events


class Phases:
    """Tells `events` of phases; no collective, and nothing on the device."""

    def __init__(self, events: Events) -> None:
        self.events = events

    def start(self, module: Game) -> None:
        """Note the phase that the run starts or resumes in."""
        self.now = module.plan(module.clock.nimg)

    def after_step(self, module: Game, last: bool) -> None:
        """Add an event if the next round is of another phase."""
        nimg = module.clock.nimg
        if (phase := module.plan(nimg)) != self.now:
            self.now, image = phase, phase.image
            self.events.add(
                "phase", nimg, module.runtime.attempt, height=image.height, width=image.width, batch=phase.batch
            )

    def end(self) -> None:
        """Finish, with nothing left to do."""

    def failed(self, error: BaseException) -> None:
        """Finish, with nothing left to do."""

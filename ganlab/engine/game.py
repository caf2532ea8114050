"""The game: two players, their moves, and the clock, as a Lightning module."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlab import distributed
from ganlab.augment import Augment
from ganlab.engine import sharding
from ganlab.engine.averages import Averaged
from ganlab.engine.clock import Clock
from ganlab.engine.compiled import Compiled
from ganlab.engine.cuda_graphs import Recorded
from ganlab.engine.player import LossScale, Player
from ganlab.engine.statistics import Statistics
from ganlab.engine.stopwatch import Stopwatch
from ganlab.experiment.checkpoints import FORMAT as CHECKPOINT_FORMAT
from ganlab.layers.batchnorm import Standardization
from ganlab.layers.spectral import iterate_power
from ganlab.models.adversarial import Draws, Losses
from ganlab.objectives import Objective
from ganlab.regularizers import Regularizer
from ganlab.schedules import Schedule
from ganlab.seeding import Noise, key
from ganlab.types import Images, ImageSpec, Labels, Phase, Precision, UserError


class GANModule(Averaged):
    """Two players and how they move; every part may be given.

    One `training_step` is a discriminator move on a fresh batch of reals, followed every `discriminator_moves`-th time
    by a generator move. Each move draws fresh latents, a function of (seed, nimg) alone.

    Args:
        image: what the images are, from the data.
        generator: `network(latents [n, network.latent], labels [n]) -> images [n, c, h, w]` in [-1, 1].
        discriminator: `network(images, labels) -> logits [n]`. Both networks have `classes`: 0 ignores the labels.
        objective: the adversarial loss.
        optimizers: for "generator" and "discriminator", a callable that takes parameters (`functools.partial(Adam,
            lr=2e-4)`) and `fused`. Adam, AdamW and SGD have the fused form, in which a non-finite move is masked.
        regularizers: penalties on the discriminator, by name.
        augment: applied to the reals and the fakes of both players.
        rate_schedule: factor on both learning rates; None leaves them constant.
        discriminator_moves: discriminator moves per generator move.
        generator_batch: the generator's batch as a ratio to the discriminator's.
        ema_half_life: of the generator's average, in real images shown.
        fake_labels: drawn uniformly over the classes, or those of the reals in the batch.
        dequantize: turn a uint8 level v of a real into (v + u) / 128 - 1 with u uniform in [0, 1), instead of
            v / 127.5 - 1.
        group: consecutive samples that stay on one rank and share a key of the noise; must divide every rank's batch.
        seed: of latents, labels and augmentation.
        micro_batch: images per process and forward pass, a multiple of `group`; None puts all of them through at once.
            It changes memory, not results, except where samples of a batch are coupled: batch norm normalises over
            the micro-batch.
        precision: `bf16` and `fp16` run the networks under autocast; losses, penalties and logits stay in float32 at
            least, and a penalty's own pass too.
        attempt: enters every key of the noise, so that a run rolled back meets other noise.
    """

    def __init__(
        self,
        *,
        image: ImageSpec,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        optimizers: Mapping[str, Callable[..., Optimizer]],
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = None,
        rate_schedule: Schedule | None = None,
        discriminator_moves: int = 1,
        generator_batch: float = 1.0,
        ema_half_life: float = 10_000.0,
        fake_labels: Literal["uniform", "data"] = "uniform",
        dequantize: bool = False,
        group: int = 4,
        seed: int = 0,
        attempt: int = 0,
        micro_batch: int | None = None,
        precision: Precision = "fp32",
    ) -> None:
        dtype = torch.float64 if precision == "fp64" else torch.float32
        super().__init__(generator, image, dtype)
        self.automatic_optimization = False
        self.discriminator = discriminator
        self.regularizers, self.augment = dict(regularizers or {}), augment
        self.losses = Losses(
            generator=generator, discriminator=discriminator, objective=objective, augment=augment, precision=precision
        )
        self.loss: dict[str, Callable[..., Any]] = {
            "discriminator": self.losses.discriminator,
            "generator": self.losses.generator,
        }
        self.run: Callable[..., Sequence[Mapping[str, Tensor]]] = self._run
        self.cuda_graphs = False
        """Record each kind of move and replay it: to be set before the players are seated."""
        self.fake_labels, self.dequantize = fake_labels, dequantize
        self.optimizer_makers, self.rate_schedule = optimizers, rate_schedule
        self.moves_every = {"discriminator": 1, "generator": discriminator_moves}  # in the order of play
        self.generator_batch, self.ema_half_life = generator_batch, ema_half_life
        self.group, self.seed, self.micro_batch, self.precision = group, seed, micro_batch, precision
        self.attempt, self.clock = attempt, Clock()
        self.players: dict[str, Player] = {}
        self.statistics, self.stopwatch = Statistics(), Stopwatch()
        self.loss_scales = nn.ModuleDict({name: LossScale() for name in self.moves_every if precision == "fp16"})
        self._refuse_contradictions()
        self.to(dtype, memory_format=torch.channels_last)

    # --- Lightning's side

    def configure_optimizers(self) -> list[Optimizer]:
        """Seat the players: called once the parameters are on their device."""
        for name, network in (("discriminator", self.discriminator), ("generator", self.generator)):
            scale = self.loss_scales[name] if self.precision == "fp16" else None
            self.players[name] = Player(network, self.optimizer_makers[name], scale)  # type: ignore[arg-type]
            if self.cuda_graphs:
                self.players[name].hold_still()
                self.run = Recorded(self._run)
        return [player.optimizer for player in self.players.values()]

    def on_train_start(self) -> None:
        """Let Lightning count discriminator moves: its `global_step`, `max_steps` and ModelCheckpoint live on them."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        if not self.cuda_graphs:  # a recorded step counts nothing
            self.players["discriminator"].step = optimizers[0].step

    def training_step(self, batch: Sequence[Tensor] | Iterator[Sequence[Tensor]], batch_idx: int) -> None:
        """Play: `batch` is (images, labels), the images as uint8 or as floats in [-1, 1], or an iterator of such."""
        for pixels, labels in batch if isinstance(batch, Iterator) else [batch]:
            images = self._as_floats(pixels)
            play = self.clock.moves["discriminator"] + 1
            for player, every in self.moves_every.items():
                if play % every == 0:
                    self.move(player, images, labels)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the clock: all else that matters is weights and optimizer states, and randomness has no state."""
        clock = self.clock.state_dict()
        checkpoint["ganlab"] = {"format": CHECKPOINT_FORMAT, "clock": clock, "attempt": self.attempt}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the clock back; the attempt too, unless this is a later one.

        The moments come to lie as the weights do, whoever wrote them: a fused optimizer takes that for granted.
        """
        states = apply_to_collection(checkpoint["optimizer_states"], Tensor, sharding.channels_last)
        checkpoint["optimizer_states"] = states
        self.clock.load_state_dict(checkpoint["ganlab"]["clock"])
        self.attempt = max(self.attempt, checkpoint["ganlab"]["attempt"])

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile both players' losses, each whole, at their first use; `options` are `torch.compile`'s."""
        self.loss = {player: Compiled(player, loss, **options) for player, loss in self.loss.items()}

    # --- the game

    def move(self, name: str, real: Images, labels: Labels) -> None:
        """Make one move of one player, given this rank's share of the reals. Works without a Trainer."""
        player = self.players[name]
        n = self._in_groups(name, len(real) if name == "discriminator" else round(len(real) * self.generator_batch))
        due = self.due(self.clock.moves[name]) if name == "discriminator" else {}
        with self.stopwatch("penalty" if due else name):
            self.discriminator.requires_grad_(name == "discriminator")  # the generator's move only passes through it
            sharding.gather(self.generator, self.discriminator)
            player.begin(1.0 if self.rate_schedule is None else self.rate_schedule(self.clock.nimg))
            of_reals = labels.repeat_interleave(n // len(real)) if self.fake_labels == "data" else labels
            first = distributed.rank() * n
            draws = [
                self._draws(size, self._noise(first + start), name, of_reals[start : start + size])
                for start, size in self._pieces(n)
            ]
            for found in self.run(name, n, due, draws, *((real, labels) if name == "discriminator" else ())):
                for term, values in found.items():
                    self.statistics.record(f"{name}/{term}", values)
            sharding.release(self.generator, self.discriminator)
            if weight := self.ema_weight(name, len(real) * distributed.world_size()):
                self.follow(weight)
        if name == "discriminator":
            self.clock.nimg += n * distributed.world_size()
        self.clock.moves[name] += 1

    def _run(
        self, name: str, n: int, due: Mapping[str, Regularizer], draws: Sequence[Draws], *reals: Tensor
    ) -> list[dict[str, Tensor]]:
        """Do what of a move is arithmetic alone; return what it found in each sample, piece by piece."""
        player, found = self.players[name], []
        player.gradients.clear()
        if name == "discriminator":
            iterate_power(self.discriminator)
        for (start, size), drawn in zip(self._pieces(n), draws, strict=True):
            if name == "discriminator":
                terms, logits = self.loss[name](*(each[start : start + size] for each in reals), drawn, due)
                found.append({f"{at}_logit": logits[at].detach() for at in ("real", "fake")})
            else:
                terms = self.loss[name](drawn)
            player.backward(torch.stack(list(terms.values())).sum() / n, last=start + size == n)
            found.append({term: values.detach() for term, values in terms.items()})
        if distributed.world_size() > 1:
            with self.stopwatch("reduction"):
                player.reduce()
        return [*found, {"not_finite": player.finish()[None]}]

    def due(self, played: int) -> dict[str, Regularizer]:
        """Return the penalties of the discriminator's move after so many."""
        return {name: penalty for name, penalty in self.regularizers.items() if played % penalty.every == 0}

    def renew(self) -> None:
        """Let the players begin anew: the networks work otherwise from here on, as they do where they grow."""
        for player in self.players.values():
            player.optimizer.state.clear()
        if any(isinstance(loss, Compiled) for loss in self.loss.values()):
            torch.compiler.reset()  # what it keeps of the past fits no more, and counts as recompilations
        if self.cuda_graphs:
            self.run = Recorded(self._run)

    @property
    def phases(self) -> Sequence[Phase]:
        """What the moves take, from the first image on; one phase for a model that does not grow."""
        return [Phase(0, self.image)]

    def plan(self, nimg: int) -> Phase:
        """Return the phase that a move made at `nimg` belongs to."""
        return [phase for phase in self.phases if phase.from_nimg <= nimg][-1]

    def ema_weight(self, name: str, batch: int) -> float:
        """Return what the live generator weighs in its average after a move on a batch of reals; 0 leaves that be."""
        if name == "discriminator":
            return 0.0
        kept: float = 0.5 ** (batch * self.moves_every["generator"] / self.ema_half_life)
        return 1 - kept

    def rates(self) -> dict[str, float]:
        """Return each player's learning rate at its last move."""
        return {name: float(player.optimizer.param_groups[0]["lr"]) for name, player in self.players.items()}

    # --- small print

    def _refuse_contradictions(self) -> None:
        if set(self.optimizer_makers) != {"generator", "discriminator"}:
            raise UserError(f"model.optimizers: {', '.join(self.optimizer_makers)}; give generator and discriminator")
        least: dict[str, float] = {"group": self.group, "discriminator_moves": self.moves_every["generator"]}
        least |= {"ema_half_life": self.ema_half_life}
        least |= {f"regularizers.{name}.every": penalty.every for name, penalty in self.regularizers.items()}
        if wrong := [f"model.{name}: {value}" for name, value in least.items() if value <= 0]:
            raise UserError(f"{', '.join(wrong)}: must be more than 0")
        norms = [m for n in (self.generator, self.discriminator) for m in n.modules() if isinstance(m, Standardization)]
        if wrong_groups := [norm.group for norm in norms if norm.group is not None and self.group % norm.group]:
            raise UserError(f"model.group: {self.group} is no multiple of {wrong_groups[0]}, the group of a batch norm")
        if self.micro_batch is not None and self.micro_batch % self.group:
            raise UserError(f"train.micro_batch: {self.micro_batch} is no multiple of model.group, {self.group}")
        if self.fake_labels == "data" and self.generator_batch % 1:
            raise UserError(
                f"model.generator_batch: {self.generator_batch}: with fake_labels: data, write a whole number"
            )
        if taken := {"loss", "real_logit", "fake_logit", "not_finite"} & set(self.regularizers):
            raise UserError(f"regularizers: {min(taken)} is the name of a statistic; choose another")

    def _as_floats(self, pixels: Tensor) -> Images:
        images = pixels.to(self.real_dtype, memory_format=torch.channels_last)
        if pixels.dtype != torch.uint8:
            return images
        if not self.dequantize:
            return images.div(127.5).sub(1.0)
        noise = self._noise(distributed.rank() * self._in_groups("discriminator", len(pixels)))
        n, c, h, w = pixels.shape
        return images.add(noise.uniform("dequantization", n, h, w, c).permute(0, 3, 1, 2)).div(128.0).sub(1.0)

    def _noise(self, start: int) -> Noise:
        seed = key(self.seed, "attempt", self.attempt) if self.attempt else self.seed
        return Noise(seed, self.clock.nimg, start, self.group, self.device, self.real_dtype)

    def _in_groups(self, name: str, n: int) -> int:
        if not n or n % self.group:
            raise UserError(
                f"{name}: a batch of {n} images per process is no whole number of groups; "
                f"make it a multiple of model.group, {self.group} (of a DataLoader, drop the last batch)"
            )
        return n

    def _draws(self, n: int, noise: Noise, name: str, of_reals: Labels) -> Draws:
        latents, labels = self.draw(n, noise, name)
        if self.fake_labels == "data":
            labels = of_reals  # each real's repeated in place: the same for sample i on any number of ranks
        mixes = name == "discriminator" and any(r.at == "between" for r in self.regularizers.values())
        between = noise.uniform("between", n, 1, 1, 1) if mixes else None
        if self.augment is None:
            return Draws(latents, labels, between)
        real, fake = (self.augment.draw(n, noise, f"{name} {kind}") for kind in ("real", "fake"))
        return Draws(latents, labels, between, real, fake)

    def _pieces(self, n: int) -> Iterator[tuple[int, int]]:
        size = self.micro_batch or n
        for start in range(0, n, size):
            yield start, min(size, n - start)

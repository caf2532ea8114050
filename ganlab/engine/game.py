"""A game: networks, players, one loss for each player, and the clock, as a Lightning module."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlab import distributed
from ganlab.engine import sharding
from ganlab.engine.averages import Average, copy_buffers, follow
from ganlab.engine.batch import Batch
from ganlab.engine.clock import Clock
from ganlab.engine.compiled import Compiled
from ganlab.engine.cuda_graphs import CudaGraphs
from ganlab.engine.dynamics import Alternating, Dynamics
from ganlab.engine.optimizers import value_at
from ganlab.engine.player import Player, Seat
from ganlab.engine.precision import LossScale, autocast, widened
from ganlab.engine.runtime import Runtime
from ganlab.engine.samples import Sampling
from ganlab.engine.statistics import Statistics
from ganlab.engine.stopwatch import Stopwatch
from ganlab.layers.batchnorm import Standardization, gather_statistics
from ganlab.layers.recompute import keeping
from ganlab.layers.spectral import iterate_power
from ganlab.schedules import ending
from ganlab.seeding import Noise, key
from ganlab.types import Images, ImageSpec, Labels, PerSample, Phase, UserError

Loss = Mapping[str, PerSample] | tuple[Mapping[str, PerSample], Mapping[str, Tensor]]
"""Terms of a loss, [n] each, that are added up; and by their side what else is recorded of the samples."""


class Game(Sampling):
    """Networks, players and their losses; a paper is a subclass.

    For each player there is a method `<player>_loss(batch: Batch) -> Loss`, a pure function of tensors: it is compiled
    whole, cut into micro-batches and spread over ranks. It runs networks by `self.call`, and asks for input gradients
    by `penalties.judge` alone. One `training_step` is a round: the players whose turn it is, in their order.

    A subclass may say more: `draw` (what else is drawn for a step), `prepare` (what changes a batch before its loss: a
    pool of past images), `skips` (whether a step is left out), `feed_back` (state that a step leaves: buffers of the
    module, saved with it, which must come out the same on all ranks).

    Args:
        image: what the images are, from the data.
        networks: by name, under which they are attributes of the module.
        players: by name, in the order of a round. The first one takes fresh reals and advances the clock.
        averages: of networks, by their names. The first one is `ema`, with which samples are made, another
            `<network>_ema`.
        dequantize: turn a uint8 level v of a real into (v + u) / 128 - 1 with u uniform in [0, 1), instead of
            v / 127.5 - 1.
        dynamics: how gradients become steps.
        runtime: settings of the run.
    """

    BATCH: ClassVar[int] = 64
    """Reals in a round, over all ranks, unless the run says another number: the paper's."""
    REPLACES: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Arguments that make others meaningless: a config may not give both."""
    RECORDS: ClassVar[tuple[str, ...]] = ("loss",)
    """Names of what the losses find of the samples, penalties aside: no penalty may have one of them."""

    def __init__(
        self,
        *,
        image: ImageSpec,
        networks: Mapping[str, nn.Module],
        players: Mapping[str, Player],
        averages: Mapping[str, Average],
        dequantize: bool = False,
        dynamics: Dynamics | None = None,
        runtime: Runtime,
    ) -> None:
        super().__init__(image, runtime.dtype)
        self.automatic_optimization = False
        self.players, self.averages, self.runtime = dict(players), dict(averages), runtime
        self.network_names = tuple(networks)
        for name, network in networks.items():
            self.add_module(name, network)
        self.average_names = {name: f"{name}_ema" if number else "ema" for number, name in enumerate(self.averages)}
        for name, at in self.average_names.items():
            self.add_module(at, copy.deepcopy(networks[name]).eval().requires_grad_(False))
        self.loss: dict[str, Callable[[Batch], Loss]] = {name: getattr(self, f"{name}_loss") for name in players}
        self.dequantize, self.dynamics = dequantize, dynamics or Alternating()
        self.run: Callable[[str, Batch], Mapping[str, Tensor]] = self._run
        self.sharded = False
        self.cuda_graphs = False
        """Record each kind of step and replay it: to be set before the players are seated."""
        self.clock, self.seats = Clock(players), dict[str, Seat]()
        kinds = dict.fromkeys(
            k for name, p in self.players.items() for k in (name, f"{name}_penalty")[: 1 + bool(p.regularizers)]
        )
        self.statistics, self.stopwatch = Statistics(), Stopwatch(("data", *kinds, "reduction", "logging"))
        self.loss_scales = nn.ModuleDict({name: LossScale() for name in players if runtime.precision == "fp16"})
        for player in self.players.values():
            player.lr_schedule = ending(player.lr_schedule, runtime.total_nimg)
        self._refuse_contradictions()
        self.to(runtime.dtype, memory_format=torch.channels_last)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The live networks, by name."""
        return {name: getattr(self, name) for name in self.network_names}

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.parameters()).device

    @property
    def conditional(self) -> bool:
        """Whether any network is told the class."""
        return any(getattr(network, "classes", 0) for network in self.networks.values())

    # --- Lightning's side

    def configure_optimizers(self) -> list[Optimizer]:
        """Seat the players: called once the parameters are on their device, and sharded if they are to be."""
        self.train()
        self.sharded = any(map(sharding.is_sharded, self.networks.values()))
        for name, player in self.players.items():
            networks = {at: getattr(self, at) for at in player.networks}
            scale = dict(self.loss_scales.items()).get(name)
            self.seats[name] = Seat(player, networks, scale, still=self.cuda_graphs)  # type: ignore[arg-type]
        if self.cuda_graphs:
            self.run = CudaGraphs(self._run)
        return [seat.optimizer for seat in self.seats.values()]

    def train(self, mode: bool = True) -> "Game":
        """Set the networks' mode; averages are always those of evaluation."""
        super().train(mode)
        for at in self.average_names.values():
            getattr(self, at).eval()
        return self

    def on_train_start(self) -> None:
        """Let Lightning count rounds: its `global_step`, `max_steps` and ModelCheckpoint live on the first player."""
        optimizers = self.optimizers()
        first = optimizers[0] if isinstance(optimizers, list) else optimizers
        if not self.cuda_graphs:  # a recorded step counts nothing
            next(iter(self.seats.values())).count = first.step

    def training_step(self, batch: Sequence[Tensor] | Mapping[str, Tensor], batch_idx: int) -> None:
        """Play a round on this rank's share of the reals.

        `batch` is (images, labels), or a mapping with `real`, `labels` and what other streams there are; images are
        uint8, or floats in [-1, 1].
        """
        named = batch if isinstance(batch, Mapping) else dict(zip(("real", "labels"), batch, strict=True))
        self._in_groups("real", len(named["real"]))
        reals = {name: self._as_floats(name, t) if t.ndim == 4 else t for name, t in named.items()}
        steps, waited = self.clock.steps, self.clock.waited
        names = [name for name, p in self.players.items() if waited[name] + 1 >= p.period(steps[name])]
        self.dynamics.play(self, names, reals)
        for name in self.players:
            waited[name] = 0 if name in names else waited[name] + 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the clock: all else that matters is weights and optimizer states, and randomness has no state."""
        checkpoint["ganlab"] = {"clock": self.clock.state_dict(), "attempt": self.runtime.attempt}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the clock back; the attempt too, unless this is a later one.

        The moments come to lie as the weights do, whoever wrote them: a fused optimizer takes that for granted.
        """
        states = apply_to_collection(checkpoint["optimizer_states"], Tensor, sharding.channels_last)
        checkpoint["optimizer_states"] = states
        saved = checkpoint["ganlab"]
        self.clock.load_state_dict(saved["clock"])
        if "waited" not in saved["clock"]:  # the first edition's players step at multiples of whole numbers
            rounds = next(iter(self.clock.steps.values()))
            self.clock.waited = {name: rounds % player.period(0) for name, player in self.players.items()}
        self.runtime = replace(self.runtime, attempt=max(self.runtime.attempt, saved["attempt"]))

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile every player's loss, each whole, at its first use; `options` are `torch.compile`'s."""
        self.loss = {name: Compiled(name, loss, **options) for name, loss in self.loss.items()}

    # --- a step

    def step(self, name: str, reals: Mapping[str, Tensor]) -> None:
        """Make one step of one player, given this rank's share of the reals, as floats. Works without a Trainer."""
        with self.stopwatch(self.kind(name, self.clock.steps[name])):
            with self.whole():
                found = self.run(name, self.batch(name, reals))
            self.conclude(name, found, reals)

    def batch(self, name: str, reals: Mapping[str, Tensor]) -> Batch:
        """Draw what a player's step needs, and bring its optimizer up to date; the networks are whole."""
        player, count = self.players[name], len(reals["real"])
        n = self._in_groups(name, round(count * player.batch))
        self.seats[name].begin(self.clock.nimg)
        due = player.due(self.clock.steps[name])
        scalars = {
            at: torch.tensor(penalty.every * value_at(penalty.weight, self.clock.nimg), dtype=self.real_dtype).to(
                self.device, non_blocking=True
            )
            for at, penalty in due.items()
            if not isinstance(penalty.weight, int | float)
        }
        drawn = self.draw(name, n, self.noise(distributed.rank() * n), reals["labels"])
        batch = Batch({**(reals if player.reals else {}), **drawn}, due, scalars)
        with torch.no_grad():
            return self.prepare(name, batch)

    def differentiate(self, name: str, batch: Batch) -> dict[str, Tensor]:
        """Find a player's gradients, averaged over the ranks; return the terms of its loss, [n] each."""
        player, seat = self.players[name], self.seats[name]
        for at, network in self.networks.items():
            network.requires_grad_(at in player.networks)  # others are only passed through
        seat.gradients.clear()
        for at in player.networks:
            iterate_power(getattr(self, at))
        n = len(next(iter(batch.tensors.values())))
        found: list[Mapping[str, Tensor]] = []
        done = 0
        for piece in batch.pieces(self.runtime.micro_batch or n):
            loss = self.loss[name](piece)
            terms, beside = loss if isinstance(loss, tuple) else (loss, {})
            done += len(next(iter(terms.values())))
            seat.backward(torch.stack(list(terms.values())).sum() / n, last=done == n)
            found.append({at: values.detach() for at, values in {**terms, **beside}.items()})
        if distributed.world_size() > 1:
            with self.stopwatch("reduction"):
                seat.gradients.finish()
        return {at: torch.cat([each[at] for each in found]) if len(found) > 1 else found[0][at] for at in found[0]}

    def update(self, name: str, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Let a player's optimizer step on its gradients; return what came of it, [1] each."""
        return self.seats[name].update(self.skips(name, found))

    def conclude(self, name: str, found: Mapping[str, Tensor], reals: Mapping[str, Tensor]) -> None:
        """Do what follows a step: statistics, state that is fed back, averages, the clock."""
        for term, values in found.items():
            self.statistics.record(f"{name}/{term}", values)
        with torch.no_grad():
            self.feed_back(name, found)
        shown = len(reals["real"]) * distributed.world_size()
        for at, average in self.averages.items():
            if name == self._leader(at, average):
                kept = average.kept(shown * (self.clock.waited[name] + 1), self.clock.nimg)
                follow(getattr(self, self.average_names[at]), getattr(self, at), 1 - kept)
        if name == next(iter(self.players)):
            self.clock.nimg += shown
        self.clock.steps[name] += 1

    def _run(self, name: str, batch: Batch) -> dict[str, Tensor]:
        """Do what of a step is arithmetic on the device alone."""
        found = self.differentiate(name, batch)
        return {**found, **self.update(name, found)}

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Have sharded networks whole here."""
        networks = self.networks.values() if self.sharded else ()
        sharding.gather(*networks)
        yield
        sharding.release(*networks)

    # --- what losses are made of

    def call(self, network: nn.Module, *inputs: Tensor, full: bool = False) -> Any:
        """Run a network under the run's precision, or in full as penalties ask; its floats come back in full."""
        if not full:
            with autocast(inputs[0].device, self.runtime.precision):
                return widened(network(*inputs), self.real_dtype)
        with autocast(inputs[0].device, self.runtime.precision, full=True), keeping():
            return widened(network(*inputs), self.real_dtype)

    def noise(self, start: int) -> Noise:
        """Return the random numbers of this moment, for the samples of the global batch from number `start` on."""
        run = self.runtime
        seed = key(run.seed, "attempt", run.attempt) if run.attempt else run.seed
        return Noise(seed, self.clock.nimg, start, run.group, self.device, self.real_dtype)

    # --- what a paper may say

    def draw(self, player: str, n: int, noise: Noise, labels: Labels) -> dict[str, Tensor]:
        """Draw what a player's loss is given beside the reals, whose `labels` these are: `n` samples of each."""
        latents, fake_labels = self.draw_latents(n, noise, player)
        return {"latents": latents, "fake_labels": fake_labels}

    def prepare(self, player: str, batch: Batch) -> Batch:
        """Change a batch before its loss is computed, without a gradient; here is where ranks may meet."""
        return batch

    def skips(self, player: str, found: Mapping[str, Tensor]) -> Tensor | None:
        """Return a number on the device, the same on all ranks, that is 1 where a step is to be left out."""
        return None

    def feed_back(self, player: str, found: Mapping[str, Tensor]) -> None:
        """Take note of a step: what its loss found of this rank's samples [n], and whether it was masked [1]."""

    @property
    def phases(self) -> Sequence[Phase]:
        """What the rounds take, from the first image on; one phase for a model that does not grow."""
        return [Phase(0, self.image, self.BATCH)]

    def plan(self, nimg: int) -> Phase:
        """Return the phase that a round begun at `nimg` belongs to."""
        return [phase for phase in self.phases if phase.from_nimg <= nimg][-1]

    # --- for who watches

    def kind(self, name: str, steps: int) -> str:
        """Name the kind of a player's step after so many, as its time is counted."""
        return f"{name}_penalty" if self.players[name].due(steps) else name

    def cycle(self) -> int:
        """Return the rounds after which the players' turns come again as they were, in the long run."""
        return math.lcm(*(round(player.mean_period()) for player in self.players.values()))

    def learning_rates(self) -> dict[str, float]:
        """Return each player's learning rate at its last step."""
        return {name: float(seat.optimizer.param_groups[0]["lr"]) for name, seat in self.seats.items()}

    def renew(self) -> None:
        """Let the players begin anew: the networks work otherwise from here on, as they do where they grow."""
        for seat in self.seats.values():
            seat.optimizer.state.clear()
        if any(isinstance(loss, Compiled) for loss in self.loss.values()):
            torch.compiler.reset()  # what it keeps of the past fits no more, and counts as recompilations
        if self.cuda_graphs:
            self.run = CudaGraphs(self._run)

    def settle(self) -> None:
        """Make the ranks agree on what each has averaged for itself; to be called on all of them before it is read."""
        for at in self.averages:
            gather_statistics(getattr(self, at))
            copy_buffers(getattr(self, self.average_names[at]), getattr(self, at))

    # --- small print

    def _leader(self, network: str, average: Average) -> str:
        """Return the player whose steps an average follows."""
        after: str | None = getattr(average, "after", None)
        return after or [name for name, player in self.players.items() if network in player.networks][-1]

    def _as_floats(self, stream: str, pixels: Tensor) -> Images:
        images = pixels.to(self.real_dtype, memory_format=torch.channels_last)
        if pixels.dtype != torch.uint8:
            return images
        if not self.dequantize:
            return images.div(127.5).sub(1.0)
        n, c, h, w = pixels.shape
        name = "dequantization" if stream == "real" else f"{stream} dequantization"
        noise = self.noise(distributed.rank() * n).uniform(name, n, h, w, c)
        return images.add(noise.permute(0, 3, 1, 2)).div(128.0).sub(1.0)

    def _in_groups(self, name: str, n: int) -> int:
        if not n or n % self.runtime.group:
            raise UserError(
                f"{name}: a batch of {n} images per process is no whole number of groups; "
                f"make it a multiple of train.group, {self.runtime.group} (of a DataLoader, drop the last batch)"
            )
        return n

    def _refuse_contradictions(self) -> None:
        group, micro_batch = self.runtime.group, self.runtime.micro_batch
        penalties = [pair for player in self.players.values() for pair in player.regularizers.items()]
        least: list[tuple[str, Any]] = [("train.group", group)]
        least += [(f"model.{name}_steps", player.every) for name, player in self.players.items()]
        least += [(f"model.regularizers.{name}.every", penalty.every) for name, penalty in penalties]
        if wrong := [f"{name}: {value}" for name, value in least if not callable(value) and value <= 0]:
            raise UserError(f"{', '.join(wrong)}: must be more than 0")
        norms = [m for n in self.networks.values() for m in n.modules() if isinstance(m, Standardization)]
        if wrong_groups := [norm.group for norm in norms if norm.group is not None and group % norm.group]:
            raise UserError(f"train.group: {group} is no multiple of {wrong_groups[0]}, the group of a batch norm")
        if micro_batch is not None and micro_batch % group:
            raise UserError(f"train.micro_batch: {micro_batch} is no multiple of train.group, {group}")
        if taken := {*self.RECORDS, "not_finite", "skipped"} & {name for name, _ in penalties}:
            raise UserError(f"model.regularizers: {min(taken)} is the name of a statistic; choose another")

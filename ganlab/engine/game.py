"""A game: networks, players, one loss for each player, and the clock, as a Lightning module."""

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlab import distributed
from ganlab.engine import sharding
from ganlab.engine.averages import Average, copy_buffers, follow
from ganlab.engine.batch import Batch, named
from ganlab.engine.checks import refuse_contradictions
from ganlab.engine.clock import Clock
from ganlab.engine.compiled import Compiled
from ganlab.engine.cuda_graphs import CudaGraphs
from ganlab.engine.dynamics import Alternating, Dynamics
from ganlab.engine.hooks import Hooks
from ganlab.engine.optimizers import value_at
from ganlab.engine.penalties import ON_WEIGHTS, WithWeights, noise_of
from ganlab.engine.player import Player, Seat
from ganlab.engine.precision import LossScale, autocast, widened
from ganlab.engine.runtime import Runtime
from ganlab.engine.samples import AVERAGE
from ganlab.engine.statistics import Statistics
from ganlab.engine.stopwatch import Stopwatch
from ganlab.layers.batchnorm import gather_statistics
from ganlab.layers.recompute import keeping
from ganlab.layers.spectral import iterate_power
from ganlab.schedules import ending
from ganlab.seeding import Noise, key
from ganlab.types import ImageSpec, PerSample, UserError

Loss = Mapping[str, PerSample] | tuple[Mapping[str, PerSample], Mapping[str, Tensor]]
"""Terms of a loss, [n] each, which are summed; optionally with a second mapping of values that are only recorded.

Of those, what has several numbers per sample is not logged: `feed_back` alone gets it."""


class Game(Hooks):
    """Networks, players and their losses; a paper is a subclass.

    Each player has a method `<player>_loss(batch: Batch) -> Loss`, a pure function of tensors that may be compiled as
    one graph, and is run on each micro-batch of each rank. It runs networks through `self.call` and takes input
    gradients through `penalties.judge` only. One `training_step` is a round: the players that are due, in their order.

    What else a subclass may override is in `Hooks`.

    Args:
        image: shape and classes of the images, from the data.
        networks: by name; they become attributes of the module under their names.
        players: by name, in the order of a round. The first one steps in every round and advances the clock.
        averages: by the names of their networks. The first one is `ema`, which makes the samples; others are
            `<network>_ema`.
        dequantize: map a uint8 level v of a real to (v + u) / 128 - 1 with u uniform in [0, 1), instead of
            v / 127.5 - 1.
        dynamics: how gradients become steps; None is `Alternating`.
        runtime: settings of the run.
    """

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
        self.average_names = {name: name + AVERAGE if number else "ema" for number, name in enumerate(self.averages)}
        for name, at in self.average_names.items():
            self.add_module(at, copy.deepcopy(networks[name]).eval().requires_grad_(False))
        self.loss: dict[str, Callable[[Batch], Loss]] = {name: getattr(self, f"{name}_loss") for name in players}
        for name, player in self.players.items():
            if any(penalty.at == ON_WEIGHTS for penalty in player.regularizers.values()):
                self.loss[name] = WithWeights(self.loss[name], partial(self.weights, name)).complete
            for at, penalty in player.regularizers.items():
                if (memory := penalty.memory(self.weights(name))) is not None:
                    self.register_buffer(f"{name}_{at}", memory)
        self.dequantize, self.dynamics = dequantize, dynamics or Alternating()
        self.run_step: Callable[[str, Batch], Mapping[str, Tensor]] = self._run_step
        self.sharded = False
        self.cuda_graphs = False
        """Capture each kind of step as a CUDA graph; to be set before the players are seated."""
        self.clock, self.seats = Clock(players), dict[str, Seat]()
        kinds = dict.fromkeys(
            k for name, p in self.players.items() for k in (name, f"{name}_penalty")[: 1 + bool(p.regularizers)]
        )
        self.statistics, self.stopwatch = Statistics(), Stopwatch(("data", *kinds, "reduction", "logging"))
        self.loss_scales = nn.ModuleDict({name: LossScale() for name in players if runtime.precision == "fp16"})
        for player in self.players.values():
            player.lr_schedule = ending(player.lr_schedule, runtime.total_nimg)
        refuse_contradictions(self)
        self.to(runtime.dtype, memory_format=torch.channels_last)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The live networks, by name."""
        return {name: getattr(self, name) for name in self.network_names}

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return next(self.parameters()).device

    @property
    def conditional(self) -> bool:
        """Whether any network is conditioned on the class."""
        return any(getattr(network, "classes", 0) for network in self.networks.values())

    def weights(self, name: str) -> list[Tensor]:
        """Return the weights that a player moves, for penalties on weights; a paper may except some."""
        return [weight for at in self.players[name].networks for weight in self.get_submodule(at).parameters()]

    # --- Lightning's side

    def configure_optimizers(self) -> list[Optimizer]:
        """Seat the players; called once the parameters are on their device, sharded if they are to be."""
        self.train()
        self.sharded = any(map(sharding.is_sharded, self.networks.values()))
        for name, player in self.players.items():
            networks = {at: getattr(self, at) for at in player.networks}
            scale = self.loss_scales[name] if self.loss_scales else None
            self.seats[name] = Seat(player, networks, scale, still=self.cuda_graphs)  # type: ignore[arg-type]
        if self.cuda_graphs:
            self.run_step = CudaGraphs(self._run_step)
        return [seat.optimizer for seat in self.seats.values()]

    def train(self, mode: bool = True) -> "Game":
        """Set the networks' mode; averages always stay in evaluation mode."""
        super().train(mode)
        for at in self.average_names.values():
            getattr(self, at).eval()
        return self

    def on_train_start(self) -> None:
        """Make Lightning's `global_step`, `max_steps` and ModelCheckpoint count rounds: the first player's steps."""
        optimizers = self.optimizers()
        first = optimizers[0] if isinstance(optimizers, list) else optimizers
        if not self.cuda_graphs:  # a CUDA graph would not call the counter
            next(iter(self.seats.values())).count = first.step

    def training_step(self, batch: Sequence[Tensor] | Mapping[str, Tensor], batch_idx: int) -> None:
        """Make a round on this rank's share of the reals.

        `batch` is (images, labels), perhaps with vectors, or a mapping of `real`, `labels`, `vectors`, `other` and
        `other_labels`; images are uint8, or floats in [-1, 1].
        """
        given = named(batch)
        self._in_groups("real", len(given["real"]))
        reals = {name: self._as_floats(name, tensor) for name, tensor in given.items()}
        steps, waited = self.clock.steps, self.clock.waited
        names = [
            name
            for name, player in self.players.items()
            if self.takes_part(name) and waited[name] + 1 >= player.period(steps[name])
        ]
        self.dynamics.round(self, names, reals)
        for name in self.players:
            waited[name] = 0 if name in names else waited[name] + 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the clock and the attempt: the rest is weights and optimizer states, and randomness has no state."""
        checkpoint["ganlab"] = {"clock": self.clock.state_dict(), "attempt": self.runtime.attempt}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the clock, and the attempt unless this one is later.

        Moments are stored channels-last like the weights, whatever the file has: a fused optimizer assumes it.
        """
        states = apply_to_collection(checkpoint["optimizer_states"], Tensor, sharding.channels_last)
        checkpoint["optimizer_states"] = states
        saved = checkpoint["ganlab"]
        self.clock.load_state_dict(saved["clock"])
        if "waited" not in saved["clock"]:  # the first edition did not save it; its periods are constant
            rounds = next(iter(self.clock.steps.values()))
            self.clock.waited = {name: rounds % player.period(0) for name, player in self.players.items()}
        self.runtime = replace(self.runtime, attempt=max(self.runtime.attempt, saved["attempt"]))

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile every player's loss as one graph, at its first use; `options` are `torch.compile`'s."""
        self.loss = {name: Compiled(name, loss, **options) for name, loss in self.loss.items()}

    # --- a step

    def step(self, name: str, reals: Mapping[str, Tensor]) -> None:
        """Make one step of one player, given this rank's share of the reals, as floats. Works without a Trainer."""
        with self.stopwatch(self.kind(name, self.clock.steps[name])):
            with self.whole():
                found = self.run_step(name, self.batch(name, reals))
            self.conclude(name, found, reals)

    def batch(self, name: str, reals: Mapping[str, Tensor]) -> Batch:
        """Draw what a player's step needs, and set its optimizer's scheduled scalars; the networks must be gathered."""
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
        noise = self.noise(distributed.rank() * n)
        drawn = self.draw(name, n, noise, reals["labels"])
        for at, penalty in due.items():
            if penalty.noise is not None:
                shape = {**reals, **drawn}[penalty.noise].shape[1:]
                drawn[noise_of(at)] = noise.normal(f"{name} {at}", n, *shape)
        batch = Batch({**(reals if player.reals else {}), **drawn}, due, scalars, self._memory(name))
        with torch.no_grad():
            return self.prepare(name, batch)

    def require_gradients(self, moved: Collection[str]) -> None:
        """Make the networks that a step moves, and no others, require gradients."""
        for at, network in self.networks.items():
            network.requires_grad_(at in moved)
        for module in self.runtime.freeze:
            self.get_submodule(module).requires_grad_(False)

    def forward(self, name: str, batch: Batch) -> Loss:
        """Return a player's loss: with `torch.func.functional_call`, a function of the weights of all networks."""
        return self.loss[name](batch)

    def differentiate(self, name: str, batch: Batch) -> dict[str, Tensor]:
        """Compute a player's gradients, averaged over the ranks; return the terms of its loss, [n] each."""
        player, seat = self.players[name], self.seats[name]
        self.require_gradients(player.networks)
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
        """Run a player's optimizer on its gradients; return `not_finite` and perhaps `skipped`, [1] each."""
        return self.seats[name].update(self.skips(name, found))

    def conclude(self, name: str, found: Mapping[str, Tensor], reals: Mapping[str, Tensor]) -> None:
        """Finish a step: update the statistics, the state that it feeds back, the averages and the clock."""
        for term, values in found.items():
            if values.ndim == 1:  # the rest is for `feed_back` alone
                self.statistics.record(f"{name}/{term}", values)
        with torch.no_grad():
            for at, memory in self._memory(name).items():
                self.players[name].regularizers[at].remember(memory, found, self.weights(name), self.clock.steps[name])
            self.feed_back(name, found)
        shown = len(reals["real"]) * distributed.world_size()
        for at, average in self.averages.items():
            if name == self._leader(at, average):
                kept = average.kept(shown * (self.clock.waited[name] + 1), self.clock.nimg)
                follow(getattr(self, self.average_names[at]), getattr(self, at), 1 - kept)
        if name == next(iter(self.players)):
            self.clock.nimg += shown
        self.clock.steps[name] += 1

    def _run_step(self, name: str, batch: Batch) -> dict[str, Tensor]:
        """Do the part of a step that is arithmetic on the device only."""
        found = self.differentiate(name, batch)
        return {**found, **self.update(name, found)}

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Gather sharded networks for the enclosed work."""
        networks = self.networks.values() if self.sharded else ()
        sharding.gather(*networks)
        try:
            yield
        finally:
            sharding.release(*networks)

    # --- for losses

    def call(self, network: Callable[..., Any], *inputs: Tensor, full: bool = False) -> Any:
        """Run a network, or a method of one, in the run's precision, or in full for penalties.

        Floating-point outputs are cast to full.
        """
        if not full:
            with autocast(inputs[0].device, self.runtime.precision):
                return widened(network(*inputs), self.real_dtype)
        with autocast(inputs[0].device, self.runtime.precision, full=True), keeping():
            return widened(network(*inputs), self.real_dtype)

    def noise(self, start: int) -> Noise:
        """Return the noise at the clock's time for the samples of the global batch from number `start` on."""
        run = self.runtime
        seed = key(run.seed, "attempt", run.attempt) if run.attempt else run.seed
        return Noise(seed, self.clock.nimg, start, run.group, self.device, self.real_dtype)

    # --- for callbacks

    def kind(self, name: str, steps: int) -> str:
        """Return the stopwatch's name for a player's step number `steps`."""
        return f"{name}_penalty" if self.players[name].due(steps) else name

    def cycle(self) -> int:
        """Return the number of rounds after which the pattern of steps repeats, with changing periods averaged."""
        return math.lcm(*(round(player.mean_period()) for player in self.players.values()))

    def learning_rates(self) -> dict[str, float]:
        """Return each player's learning rate at its last step."""
        return {name: float(seat.optimizer.param_groups[0]["lr"]) for name, seat in self.seats.items()}

    def renew(self) -> None:
        """Reset the optimizers, compiled losses and CUDA graphs, as a network that grows needs it."""
        for seat in self.seats.values():
            seat.optimizer.state.clear()
        if any(isinstance(loss, Compiled) for loss in self.loss.values()):
            torch.compiler.reset()  # graphs of the former size would count as recompilations
        if self.cuda_graphs:
            self.run_step = CudaGraphs(self._run_step)

    def settle(self) -> None:
        """Average running statistics over the ranks and copy them to the averages; call on all ranks before reading."""
        for at in self.averages:
            gather_statistics(getattr(self, at))
            copy_buffers(getattr(self, self.average_names[at]), getattr(self, at))

    # --- internals

    def _memory(self, name: str) -> dict[str, Tensor]:
        """Return the buffers of a player's penalties that remember something."""
        buffers = dict(self.named_buffers(recurse=False))
        return {at: buffers[f"{name}_{at}"] for at in self.players[name].regularizers if f"{name}_{at}" in buffers}

    def _leader(self, network: str, average: Average) -> str:
        """Return the player after whose steps an average is updated."""
        return average.after or [name for name, player in self.players.items() if network in player.networks][-1]

    def _as_floats(self, stream: str, pixels: Tensor) -> Tensor:
        if pixels.ndim < 4:
            return pixels.to(self.real_dtype) if pixels.is_floating_point() else pixels
        if pixels.dtype != torch.uint8 or not self.dequantize:
            return self.as_floats(pixels)
        n, c, h, w = pixels.shape
        images = pixels.to(self.real_dtype, memory_format=torch.channels_last)
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

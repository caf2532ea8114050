"""The game: two players, their moves, and the clock, as a Lightning module."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlab import distributed, pictures
from ganlab.augment import Augment
from ganlab.checkpoints import FORMAT as CHECKPOINT_FORMAT
from ganlab.clock import Clock
from ganlab.layers.batchnorm import gather_statistics
from ganlab.layers.spectral import iterate_power
from ganlab.models.player import LossScale, Player
from ganlab.models.statistics import Statistics
from ganlab.objectives import Objective
from ganlab.regularizers import Regularizer, input_gradient
from ganlab.schedules import Schedule
from ganlab.seeding import Noise, key
from ganlab.types import Images, ImageSpec, Labels, Latents, Logits, PerSample, Phase, Precision, UserError

SAMPLE_BATCH = 64
"""Samples are always made this many at a time, so that image i of a seed is the same whatever is asked for."""


class GANModule(pl.LightningModule):
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
        regularizers: penalties on the discriminator's input gradient, by name.
        augment: applied to the reals and the fakes of both players.
        rate_schedule: factor on both learning rates; None leaves them constant.
        discriminator_moves: discriminator moves per generator move.
        generator_batch: the generator's batch as a ratio to the discriminator's.
        ema_half_life: of the generator's average, in real images shown.
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
        group: int = 4,
        seed: int = 0,
        attempt: int = 0,
        micro_batch: int | None = None,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        if set(optimizers) != {"generator", "discriminator"}:
            raise UserError(f"model.optimizers: {', '.join(optimizers)}; give generator and discriminator")
        least = {"group": group, "discriminator_moves": discriminator_moves, "ema_half_life": ema_half_life}
        least |= {f"regularizers.{name}.every": penalty.every for name, penalty in (regularizers or {}).items()}
        if wrong := [f"model.{name}: {value}" for name, value in least.items() if value <= 0]:
            raise UserError(f"{', '.join(wrong)}: must be more than 0")
        if micro_batch is not None and micro_batch % group:
            raise UserError(f"train.micro_batch: {micro_batch} is no multiple of model.group, {group}")
        if taken := {"loss", "real_logit", "fake_logit", "not_finite"} & set(regularizers or {}):
            raise UserError(f"regularizers: {min(taken)} is the name of a statistic; choose another")
        self.image = image
        self.generator, self.discriminator = generator, discriminator
        self.ema = copy.deepcopy(generator).eval().requires_grad_(False)
        self.latent, self.classes = int(generator.latent), int(generator.classes)  # type: ignore[arg-type]
        self.objective, self.regularizers, self.augment = objective, dict(regularizers or {}), augment
        self.optimizer_makers, self.rate_schedule = optimizers, rate_schedule
        self.moves_every = {"discriminator": 1, "generator": discriminator_moves}  # in the order of play
        self.generator_batch, self.ema_half_life = generator_batch, ema_half_life
        self.group, self.seed, self.micro_batch, self.precision = group, seed, micro_batch, precision
        self.attempt = attempt
        self.clock = Clock()
        self.players: dict[str, Player] = {}
        self.statistics = Statistics()
        self.loss_scales = nn.ModuleDict({name: LossScale() for name in self.moves_every if precision == "fp16"})
        self.real_dtype = torch.float64 if precision == "fp64" else torch.float32
        self.to(self.real_dtype)

    # --- Lightning's side

    def configure_optimizers(self) -> list[Optimizer]:
        """Seat the players: called once the parameters are on their device."""
        for name, network in (("discriminator", self.discriminator), ("generator", self.generator)):
            scale = self.loss_scales[name] if self.precision == "fp16" else None
            self.players[name] = Player(network, self.optimizer_makers[name], scale)  # type: ignore[arg-type]
        return [player.optimizer for player in self.players.values()]

    def on_train_start(self) -> None:
        """Let Lightning count discriminator moves: its `global_step`, `max_steps` and ModelCheckpoint live on them."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        self.players["discriminator"].step = optimizers[0].step

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Play: `batch` is (images, labels), the images as uint8 or as floats in [-1, 1]."""
        pixels, labels = batch
        images = pixels.to(self.real_dtype)
        if pixels.dtype == torch.uint8:
            images = images.div(127.5).sub(1.0)
        play = self.clock.moves["discriminator"] + 1
        for player, every in self.moves_every.items():
            if play % every == 0:
                self.move(player, images, labels)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the clock: all else that matters is weights and optimizer states, and randomness has no state."""
        checkpoint["ganlab"] = {
            "format": CHECKPOINT_FORMAT,
            "clock": self.clock.state_dict(),
            "attempt": self.attempt,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the clock back; the attempt too, unless this is a later one."""
        self.clock.load_state_dict(checkpoint["ganlab"]["clock"])
        self.attempt = max(self.attempt, checkpoint["ganlab"]["attempt"])

    # --- the game

    def move(self, name: str, real: Images, labels: Labels) -> None:
        """Make one move of one player, given this rank's share of the reals. Works without a Trainer."""
        player = self.players[name]
        n = len(real) if name == "discriminator" else round(len(real) * self.generator_batch)
        if not n or n % self.group:
            raise UserError(
                f"{name}: a batch of {n} images per process is no whole number of groups; "
                f"make it a multiple of model.group, {self.group} (of a DataLoader, drop the last batch)"
            )
        due = {key: r for key, r in self.regularizers.items() if self.clock.moves[name] % r.every == 0}
        self.discriminator.requires_grad_(name == "discriminator")  # the generator's move only passes through it
        player.begin(1.0 if self.rate_schedule is None else self.rate_schedule(self.clock.nimg))
        if name == "discriminator":
            iterate_power(self.discriminator)
        for start, size in self._pieces(n):
            noise = self._noise(distributed.rank() * n + start)
            if name == "discriminator":
                piece = slice(start, start + size)
                terms = self.discriminator_terms(real[piece], labels[piece], noise, due)
            else:
                terms = self.generator_terms(size, noise)
            player.backward(torch.stack(list(terms.values())).sum() / n, last=start + size == n)
            for term, values in terms.items():
                self.statistics.record(f"{name}/{term}", values)
        self.statistics.record(f"{name}/not_finite", player.finish()[None])
        if name == "generator":
            self._average_generator(len(real) * distributed.world_size() * self.moves_every["generator"])
        else:
            self.clock.nimg += n * distributed.world_size()
        self.clock.moves[name] += 1

    def discriminator_terms(
        self, real: Images, labels: Labels, noise: Noise, due: Mapping[str, Regularizer]
    ) -> dict[str, PerSample]:
        """Return the discriminator's loss and due penalties on as many fakes as reals."""
        with torch.no_grad():
            latents, fake_labels = self.draw(len(real), noise, "discriminator")
            fake = self.generate(latents, fake_labels)
        real = self._augmented(real, noise, "discriminator real")
        fake = self._augmented(fake, noise, "discriminator fake")
        points = {"real": (real, labels), "fake": (fake, fake_labels)}
        if any(penalty.at == "between" for penalty in due.values()):
            points["between"] = real.lerp(fake, noise.uniform("between", len(real), 1, 1, 1)), labels
        logits, terms = {}, {}
        for at, (images, classes) in points.items():
            penalties = {name: r for name, r in due.items() if r.at == at}
            if penalties:
                gradient, logits[at] = input_gradient(partial(self.score, labels=classes, full=True), images)
                terms.update({name: penalty.term(gradient) for name, penalty in penalties.items()})
            else:
                logits[at] = self.score(images, classes)
        for at in ("real", "fake"):
            self.statistics.record(f"discriminator/{at}_logit", logits[at])
        return {"loss": self.objective.discriminator(logits["real"], logits["fake"]), **terms}

    def generator_terms(self, n: int, noise: Noise) -> dict[str, PerSample]:
        """Return the generator's loss on `n` fakes."""
        latents, labels = self.draw(n, noise, "generator")
        fake = self._augmented(self.generate(latents, labels), noise, "generator fake")
        return {"loss": self.objective.generator(self.score(fake, labels))}

    def draw(self, n: int, noise: Noise, name: str) -> tuple[Latents, Labels]:
        """Draw latents, and labels uniformly (-1 where the generator takes none)."""
        latents = noise.normal(f"{name} latents", n, self.latent)
        if not self.classes:
            return latents, torch.full((n,), -1, device=latents.device)
        return latents, noise.classes(f"{name} labels", n, self.classes)

    def generate(self, latents: Latents, labels: Labels) -> Images:
        """Run the live generator under the run's precision."""
        with self._autocast():
            return self.generator(latents, labels).to(self.real_dtype)  # type: ignore[no-any-return]

    def score(self, images: Images, labels: Labels, full: bool = False) -> Logits:
        """Run the discriminator under the run's precision, or for a penalty in full; the logits come back in full."""
        with self._autocast(off=full):
            return self.discriminator(images, labels).to(self.real_dtype)  # type: ignore[no-any-return]

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0, labels: Sequence[int] | None = None) -> Tensor:
        """Make `n` uint8 images [n, c, h, w] with the averaged generator.

        Image i of a seed is the same for any n. `labels` are repeated as often as needed; None draws them uniformly.
        """
        if n < 1:
            raise UserError(f"n: {n} images; ask for at least 1")
        if labels is not None:
            if not self.classes:
                raise UserError("labels: this generator takes none; it was trained without classes")
            if not labels:
                raise UserError("labels: none given; name at least one, or leave the argument out to draw them")
            if wrong := [label for label in labels if not 0 <= label < self.image.classes]:
                raise UserError(f"labels: {wrong} are not classes; write numbers from 0 to {self.image.classes - 1}")
        batches = []
        for start in range(0, n, SAMPLE_BATCH):
            noise = Noise(seed, 0, start, dtype=self.real_dtype)  # drawn on the CPU: the same on every machine
            latents, classes = self.draw(SAMPLE_BATCH, noise, "sample")
            if labels is not None:
                classes = torch.tensor([labels[i % len(labels)] for i in range(start, start + SAMPLE_BATCH)])
            images = self.ema(latents.to(self.device), classes.to(self.device))
            batches.append(pictures.to_uint8(images[: n - start]))
        return torch.cat(batches)

    def settle(self) -> None:
        """Make the ranks agree on what each has averaged for itself; to be called on all of them before it is read."""
        gather_statistics(self.generator)
        self._copy_buffers()

    @property
    def phases(self) -> Sequence[Phase]:
        """What the moves take, from the first image on; one phase for a model that does not grow."""
        return [Phase(0, self.image)]

    def plan(self, nimg: int) -> Phase:
        """Return the phase that a move made at `nimg` belongs to."""
        return [phase for phase in self.phases if phase.from_nimg <= nimg][-1]

    def rates(self) -> dict[str, float]:
        """Return each player's learning rate at its last move."""
        return {name: player.optimizer.param_groups[0]["lr"] for name, player in self.players.items()}

    # --- small print

    def _noise(self, start: int) -> Noise:
        seed = key(self.seed, "attempt", self.attempt) if self.attempt else self.seed
        return Noise(seed, self.clock.nimg, start, self.group, self.device, self.real_dtype)

    def _pieces(self, n: int) -> Iterator[tuple[int, int]]:
        size = self.micro_batch or n
        for start in range(0, n, size):
            yield start, min(size, n - start)

    def _augmented(self, images: Images, noise: Noise, name: str) -> Images:
        return images if self.augment is None else self.augment(images, noise, name)

    def _autocast(self, off: bool = False) -> torch.autocast:
        low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        return torch.autocast(self.device.type, low, enabled=low is not None and not off)

    def _average_generator(self, images: int) -> None:
        weight = 1 - 0.5 ** (images / self.ema_half_life)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.generator.parameters()), weight)
        self._copy_buffers()

    def _copy_buffers(self) -> None:
        for average, live in zip(self.ema.buffers(), self.generator.buffers(), strict=True):
            average.copy_(live)  # counts and statistics are no weights: never interpolated

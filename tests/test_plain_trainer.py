"""The module under a Trainer that knows nothing of it, and on two ranks."""

import warnings

import jobs
import numpy as np
import plain_ddp
import pytest
import pytorch_lightning as pl
import tiny
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from ganlab.data import BatchLoader, ShardDataset
from ganlab.data.make.pack import pack
from ganlab.data.read.module import ShardData
from ganlab.models import DCGAN
from ganlab.types import ImageSpec, Phase, UserError

IMAGE = ImageSpec(16, 16, 1, 3)


@pytest.fixture(autouse=True)
def quiet():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        yield
    torch.set_num_threads(before)


def packed(folder, size):
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (50, size, size), np.uint8), draw.integers(0, 3, 50)
    np.savez(folder / "noise.npz", images=images, labels=labels)
    return pack(folder / "noise.npz", folder / "shards", size=size).folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("plain"), 16)


def loader(shards):
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (40, 1, 16, 16), dtype=torch.uint8, generator=draw)
    return DataLoader(TensorDataset(images, torch.arange(40) % 3), batch_size=8)


def shard_data(shards):
    return ShardData(shards, batch=8)


def trainer(folder, max_steps=12):
    return pl.Trainer(
        max_steps=max_steps,
        accelerator="cpu",
        logger=False,
        callbacks=[ModelCheckpoint(every_n_train_steps=4, save_top_k=-1, dirpath=folder, filename="{step}")],
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def fresh():
    torch.manual_seed(0)
    return DCGAN(image=IMAGE, width=4, latent=6, conditional=True)


@pytest.mark.parametrize("data", [loader, shard_data])
def test_max_steps_and_model_checkpoint_count_discriminator_steps(shards, tmp_path, data):
    module, twelve = fresh(), trainer(tmp_path)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    twelve.fit(module, data(shards))
    assert twelve.global_step == 12 and module.clock.nimg == 96
    assert module.clock.steps == {"discriminator": 12, "generator": 12}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step=12.ckpt", "step=4.ckpt", "step=8.ckpt"]
    for step in (4, 8, 12):
        saved = torch.load(tmp_path / f"step={step}.ckpt", weights_only=True)
        assert saved["ganlab"]["clock"]["nimg"] == 8 * step and saved["global_step"] == step
        for optimizer in saved["optimizer_states"]:
            assert {int(entry["step"]) for entry in optimizer["state"].values()} == {step}
    assert tiny.distance(saved["state_dict"], module.state_dict()) == 0
    for player in ("generator", "discriminator", "ema"):
        names = [name for name in before if name.startswith(player)]
        assert max((before[name] - module.state_dict()[name]).abs().max() for name in names) > 1e-3


def test_a_checkpoint_goes_on_as_if_it_had_never_stopped(shards, tmp_path):
    whole, part, rest = fresh(), fresh(), DCGAN(image=IMAGE, width=4, latent=6, conditional=True)
    trainer(tmp_path / "whole").fit(whole, shard_data(shards))
    trainer(tmp_path / "part", 8).fit(part, shard_data(shards))
    assert tiny.distance(part.state_dict(), whole.state_dict()) > 1e-4
    again = trainer(tmp_path / "rest")
    again.fit(rest, shard_data(shards), ckpt_path=tmp_path / "part" / "step=8.ckpt")
    assert again.global_step == 12 and rest.clock == whole.clock and rest.clock.nimg == 96
    assert tiny.distance(rest.state_dict(), whole.state_dict()) == 0


def test_a_plain_loader_goes_on_with_the_clock(shards, tmp_path):
    trainer(tmp_path, 8).fit(fresh(), loader(shards))
    rest, again = fresh(), trainer(tmp_path / "rest")
    again.fit(rest, loader(shards), ckpt_path=tmp_path / "step=8.ckpt")
    assert again.global_step == 12 and rest.clock.nimg == 96 and rest.clock.steps["generator"] == 12


def test_a_last_batch_that_is_too_small_says_what_to_do(tmp_path):
    data = TensorDataset(torch.zeros(22, 1, 16, 16, dtype=torch.uint8), torch.zeros(22, dtype=torch.int64))
    with pytest.raises(UserError, match=r"6 images .* drop the last batch"):
        trainer(tmp_path).fit(fresh(), DataLoader(data, batch_size=8))


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """What each case gave on both ranks, all in one launch; and the dataset they saw."""
    folder = tmp_path_factory.mktemp("ddp")
    shards = packed(folder, 8)
    jobs.launch("plain_ddp.py", folder, shards, CUDA_VISIBLE_DEVICES="")
    results = {name: [torch.load(folder / f"{name}-{rank}.pt") for rank in (0, 1)] for name in plain_ddp.CASES}
    return results, shards


TWO_ROUNDS = {
    ("discriminator", "generator"): ["discriminator", "discriminator", "generator"],
    ("autoencoder", "critic", "encoder"): ["autoencoder", "critic", "autoencoder", "critic", "encoder"],
}
"""Who steps in the first round and the second, and so on, by the game's players."""


def one_process(case, shards):
    """The same game on whole batches, without a Trainer."""
    options = plain_ddp.CASES[case][1]
    module = options.get("make", plain_ddp.two_players)()
    stream = list(tiny.batches(plain_ddp.STEPS, plain_ddp.BATCH))
    if options.get("packed"):
        dataset = ShardDataset(shards)
        phase = Phase(0, dataset.image, plain_ddp.BATCH)
        whole = iter(BatchLoader(dataset, plan=lambda _: phase, seed=0))
        stream = [next(whole) for _ in range(plain_ddp.STEPS)]
        whole.close()
    if options.get("bad"):
        stream[4][0][plain_ddp.BATCH // 2 + 1, 0, 3, 3] = float("inf")
    for _ in range(options.get("fits", 1)):
        module.configure_optimizers()
        for batch in stream:
            module.training_step(batch, 0)
    return module


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.parametrize("case", plain_ddp.CASES)
def test_two_ranks_are_one_process_and_send_each_gradient_once(launched, case):
    results, shards = launched
    first, second = results[case]
    module = one_process(case, shards)
    assert tiny.distance(first["state"], second["state"]) == 0
    assert tiny.distance(first["state"], module.state_dict()) < 1e-10
    assert first["nimg"] == second["nimg"] == module.clock.nimg
    statistics = module.statistics.read()
    assert first["statistics"] == pytest.approx(second["statistics"], rel=0, nan_ok=True)
    if "not finite" in case:
        for found in (first["statistics"], statistics):
            assert found["discriminator/not_finite"] == pytest.approx(0.1) and found["generator/not_finite"] == 0
    else:
        assert first["statistics"] == pytest.approx(statistics, abs=1e-10)
    sizes = {name: 8 * sum(p.numel() for p in seat.network.parameters()) for name, seat in module.seats.items()}
    turns = TWO_ROUNDS[tuple(sizes)] * (plain_ddp.STEPS // 2) * plain_ddp.CASES[case][1].get("fits", 1)
    assert [(name, sent) for name, sent, _ in first["steps"]] == [(name, sizes[name]) for name in turns]
    calls = {count for _, _, count in first["steps"]}
    assert (min(calls) > 1) == ("small buckets" in case) and (calls == {1}) == ("small buckets" not in case)

"""The verbs `evaluate` and `compare` on a tiny run: numbers by hand, their names, and what is refused."""

import json
import shutil
from pathlib import Path

import jobs
import numpy as np
import pytest
import tiny_runs as runs
import torch
from extractors import Classifier, Maps, NotANumber, Toy, script
from PIL import Image
from scipy.linalg import sqrtm

import ganlab
from ganlab.data.make.pack import pack
from ganlab.evaluation.images import Shards
from ganlab.evaluation.results import read
from ganlab.evaluation.side import Side
from ganlab.metrics.features import Extractor, TorchScriptFeatures
from ganlab.metrics.inception_score import inception_score
from ganlab.metrics.kernel import kernel_distance
from ganlab.metrics.prdc import precision_recall_density_coverage
from ganlab.pictures.grids import to_uint8

pytestmark = pytest.mark.usefixtures("one_thread")


def results(run: Path) -> dict[str, dict]:
    return {row["metric"]: row for row in map(json.loads, (run / "results.jsonl").read_text().splitlines())}


def done(*words: object) -> str:
    result = runs.ganlab("evaluate", *words)
    assert result.exit_code == 0, result.output
    return result.stdout


def features_of(images: torch.Tensor) -> np.ndarray:
    return Toy()(images.expand(-1, 3, -1, -1)).double().numpy()


def real_pixels(dataset: Path) -> torch.Tensor:
    return torch.cat([Shards(str(dataset)).block(start)[0] for start in range(0, 240, 64)])


def fake_pixels(run: Path, n: int) -> torch.Tensor:
    model = ganlab.load(run)
    return torch.cat([to_uint8(model.synthesize(start, 0, "evaluation")[0]) for start in range(0, n, 64)])[:n]


def scipy_distance(a: np.ndarray, b: np.ndarray) -> float:
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(covariances[0] @ covariances[1]).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root))


def write_pictures(folder: Path, images: torch.Tensor) -> Path:
    folder.mkdir()
    for number, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{number:05d}.png")
    return folder


def test_a_run_by_every_metric_that_can_be_had_by_hand(run: Path, dataset: Path, toy: Path) -> None:
    said = done(run, "--extractor", toy, "-n", 200, "--metrics", "fid,kid,prdc")
    rows = results(run)
    fake, real = features_of(fake_pixels(run, 200)), features_of(real_pixels(dataset))
    fid = rows["fid"]
    assert fid["value"] == pytest.approx(scipy_distance(fake, real), rel=1e-5)
    assert fid["floor"] == pytest.approx(scipy_distance(real[0::2], real[1::2]), rel=1e-4)
    quarters = [scipy_distance(fake[part::4], real) for part in range(4)]
    assert fid["standard_error"] == pytest.approx(np.std(quarters, ddof=1) / 2, rel=1e-3)
    assert fid["floor_images"] == 120
    both = torch.from_numpy(fake).float(), torch.from_numpy(real).float()
    assert rows["kid"]["value"] == pytest.approx(kernel_distance(*both)[0], rel=1e-4)
    for name, value in precision_recall_density_coverage(*both).items():
        assert rows[name]["value"] == pytest.approx(value, abs=1e-9)
    assert fid["name"] == f"fid200_shards-full240_toy.{fid['protocol']['weights_sha256'][:8]}_ema_bn-live"
    assert all(row["name"] in said for row in rows.values())
    assert fid["nimg"] == 480 and fid["seed"] == 0 and fid["seconds"] > 0 and not fid["biased"]
    assert fid["versions"]["torch"] and len(fid["config_sha256"]) == 64
    assert fid["protocol"]["fakes_truncation"] is None and fid["protocol"]["resize"] == "its own"


@pytest.mark.slow
def test_metrics_without_an_extractor_and_with_labels(run: Path, toy: Path) -> None:
    metrics = "swd,msssim,neighbours,cas,intra_fid"
    done(run, "--extractor", toy, "-n", 130, "--metrics", metrics)
    rows = results(run)
    assert rows["swd"]["name"] == "swd130_shards-first130_ema_bn-live"
    assert rows["swd"]["value"] > 3 * rows["swd"]["floor"] > 0
    assert rows["swd"]["value"] == pytest.approx(rows["swd_level0"]["value"])  # 16 px have one level
    assert rows["msssim"]["value"] > rows["msssim"]["floor"]  # reals are noise
    assert rows["intra_fid"]["value"] > rows["intra_fid"]["floor"]
    assert 0 <= rows["cas"]["value"] <= 1
    with Image.open(run / "neighbours.png") as picture:
        assert picture.size == (8 * 50 + 2, 10 * 50 + 2)


def test_the_discriminator_s_features_tell_classes(run: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    labels = np.arange(120) % 3
    shade = np.array([20, 120, 220])[labels][:, None, None]
    np.savez(
        tmp_path / "shades.npz", images=(shade + draw.integers(0, 30, (120, 16, 16))).astype(np.uint8), labels=labels
    )
    pack(tmp_path / "shades.npz", tmp_path / "shades", size=16)
    done(run, "--metrics", "probe", "--data", tmp_path / "shades")
    row = results(run)["probe"]
    assert row["value"] == 1.0 and row["name"] == "probe_shades-full120_discriminator"
    noise = runs.pack_noise(tmp_path, classes=3)
    done(run, "--metrics", "probe", "--data", noise)
    assert 0.15 < results(run)["probe"]["value"] < 0.55  # of three classes that are all noise


def test_an_exported_generator_has_no_discriminator_to_probe(run: Path, dataset: Path, tmp_path: Path) -> None:
    assert runs.ganlab("export", run, "--out", tmp_path / "sent").exit_code == 0
    said = runs.refused("evaluate", tmp_path / "sent", "--metrics", "probe", "--data", dataset)
    assert said.startswith("probe: sent is an exported generator, which has no discriminator; evaluate the run that")


def test_inception_score_needs_no_reals(run: Path, tmp_path: Path) -> None:
    classifier = script(Classifier(), tmp_path / "classifier.pt")
    done(run, "--extractor", classifier, "-n", 100, "--metrics", "is")
    row = results(run)["is"]
    mean, deviation = inception_score(torch.from_numpy(features_of(fake_pixels(run, 100))))
    assert row["value"] == pytest.approx(mean, rel=1e-5)
    assert row["standard_error"] == pytest.approx(deviation / 10**0.5, rel=1e-3)
    assert row["name"].startswith("is100_classifier.") and "reals" not in row["protocol"]


def test_too_few_images_mark_the_name(run: Path, toy: Path) -> None:
    done(run, "--extractor", toy, "-n", 24)
    assert results(run)["fid"]["biased"] and results(run)["fid"]["name"].startswith("biased-fid24_")


@pytest.mark.slow
def test_a_number_does_not_depend_on_how_many_images_are_looked_at_at_once(
    run: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for piece in (1, 7, 64):
        monkeypatch.setattr(Extractor, "piece", piece)
        monkeypatch.setenv("GANLAB_CACHE", str(tmp_path / f"{piece}"))
        done(run, "--extractor", toy, "-n", 200, "--metrics", "fid,kid")
        found.append([results(run)[name]["value"] for name in ("fid", "kid")])
    assert found[1] == pytest.approx(found[0], rel=1e-5) == found[2]


def test_a_line_that_a_kill_cut_short_spoils_no_other(run: Path, toy: Path, caplog: pytest.LogCaptureFixture) -> None:
    command = (run, "--extractor", toy, "-n", 100)
    done(*command)
    file = run / "results.jsonl"
    first = file.read_bytes()
    file.write_bytes(first + first[:-40])
    done(*command)
    done(*command)
    assert [row["value"] for row in read(run)] == [json.loads(first)["value"]] * 3
    assert file.read_bytes().startswith(first + first[:-40] + b"\n{")
    assert caplog.messages[-1].endswith("results.jsonl: left out what a kill cut short: line 2")


@pytest.mark.slow
def test_statistics_of_the_reals_are_made_once_and_never_of_others(
    run: Path, dataset: Path, toy: Path, tmp_path: Path, cache: Path
) -> None:
    reals = shutil.copytree(dataset, tmp_path / "reals")
    command = (run, "--extractor", toy, "-n", 100, "--data", reals)
    done(*command)
    first = results(run)["fid"]["value"]
    (kept,) = cache.rglob("*.safetensors")  # the fakes' are gone, and of the reals' only the moments stay
    made = kept.stat().st_mtime_ns
    done(*command)
    assert kept.stat().st_mtime_ns == made and results(run)["fid"]["value"] == first
    (tmp_path / "other").mkdir()
    other = runs.pack_noise(tmp_path / "other", classes=0, images=99)
    done(run, "--extractor", toy, "-n", 100, "--data", other)
    (foreign,) = set(cache.rglob("*.safetensors")) - {kept}
    shutil.copy(foreign, kept)  # a file of another dataset under this one's name
    done(*command)
    assert results(run)["fid"]["value"] == pytest.approx(first, rel=1e-9)
    assert kept.read_bytes() != foreign.read_bytes()


def test_no_job_deletes_what_another_is_about_to_read(dataset: Path, toy: Path, cache: Path) -> None:
    """Both measure the same reals; one of them needs the moments alone."""

    def side(passing: bool = False) -> Side:
        return Side(Shards(str(dataset)), TorchScriptFeatures(path=str(toy)), torch.device("cpu"), 16, passing)

    with side() as reader:
        reader.stores["features"].fill()  # and is about to sum them up, or to read them
        for passing in (False, True):
            with side(passing) as other:
                other.prepare({"moments"})
        assert len(reader.features()) == 240
    assert {path.name for path in cache.rglob("*.safetensors")} == {"000000.safetensors", "moments.safetensors"}
    with side(passing=True) as other:  # nobody else holds them any more
        other.prepare({"moments"})
    assert list(cache.rglob("*")) == []


@pytest.mark.slow
def test_what_is_wrong_on_one_rank_is_said_on_all() -> None:
    assert jobs.launch("one_rank_fails.py").count("image 7: bad") == 2


@pytest.mark.slow
def test_a_killed_pass_goes_on(run: Path, toy: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    command = (run, "--extractor", toy, "-n", 300, "--metrics", "fid,kid")
    done(*command)
    undisturbed = results(run)
    monkeypatch.setattr("ganlab.evaluation.store.CHUNK", 64)
    made: list[int] = []
    synthesize = ganlab.models.GANModule.synthesize

    def killed(model: object, start: int, *arguments: object, **options: object) -> object:
        made.append(start)
        if len(made) == 4:
            raise KeyboardInterrupt
        return synthesize(model, start, *arguments, **options)

    monkeypatch.setattr(ganlab.models.GANModule, "synthesize", killed)
    assert runs.ganlab("evaluate", *command).exit_code == 130
    done(*command)
    assert made == [0, 64, 128, 192, 192, 256]
    for name, row in results(run).items():
        assert row["value"] == pytest.approx(undisturbed[name]["value"], rel=1e-9)  # sums in another order


@pytest.mark.slow
def test_compare_shows_like_and_refuses_unlike(run: Path, toy: Path, tmp_path: Path) -> None:
    assert "has no results" in runs.refused("compare", run)
    other = shutil.copytree(run, tmp_path / "other")
    done(run, "--extractor", toy, "-n", 100, "--metrics", "fid,kid")
    done(other, "--extractor", toy, "-n", 90)
    message = runs.refused("compare", run, other)
    assert "fid: " in message and "fakes: 100 and 90" in message and "evaluate both alike" in message
    done(other, "--extractor", toy, "-n", 100)
    said = runs.ganlab("compare", run, other).stdout.splitlines()
    assert len(said) == 3 and said[0] == results(run)["fid"]["name"]  # kid is not in both
    value = f"{results(run)['fid']['value']:.4g}"
    assert all(value in line and f"best {value} at 480" in line for line in said[1:])


@pytest.mark.slow
def test_bad_input_is_one_clear_error_each(run: Path, dataset: Path, toy: Path, tmp_path: Path) -> None:
    noise = real_pixels(dataset)

    def refusal(*words: object) -> str:
        return runs.refused("evaluate", *words)

    def pictures(name: str, images: torch.Tensor) -> Path:
        return write_pictures(tmp_path / name, images)

    with_toy = ("--extractor", toy)
    assert "without one there are swd, msssim, spectrum, reconstruction, probe, field, modes, moments" in refusal(run)
    assert "metrics: fidd; choose from fid, kid" in refusal(run, "--metrics", "fidd", *with_toy)
    assert "is: needs a classifier, and toy." in refusal(run, "--metrics", "is", *with_toy)
    assert "against what?" in refusal(dataset, *with_toy)
    assert "absent.pt: no such file" in refusal(run, "--extractor", tmp_path / "absent.pt")
    assert "2 images; give at least 16" in refusal(pictures("two", noise[:2]), dataset, *with_toy)
    plain = pictures("plain", torch.full((20, 1, 16, 16), 7, dtype=torch.uint8))
    for metric in ("fid", "kid", "prdc"):
        assert "features of plain: the same for all 20 images" in refusal(
            plain, dataset, *with_toy, "--metrics", metric
        )
    assert "swd" in refusal(plain, dataset, "--metrics", "swd")
    assert "intra_fid: needs labels, and plain has none" in refusal(plain, dataset, "--metrics", "intra_fid", *with_toy)
    clear = pictures("clear", noise[:20].expand(-1, 4, -1, -1))
    assert "images of 4 channels" in refusal(clear, dataset, *with_toy)
    small = pictures("small", noise[:20, :, :12, :12])
    assert "swd: small and shards have images of [c, h, w] [1, 12, 12] and [1, 16, 16]" in refusal(
        small, dataset, "--metrics", "swd"
    )
    assert "21 images asked for (-n, or evaluation.reals), and it has" in refusal(small, dataset, "-n", 21, *with_toy)
    mixed = pictures("mixed", noise[:20])
    Image.new("L", (9, 9)).save(mixed / "00005.png")
    assert "00005.png: 9x9 px in 1 channel, but the first image has 16x16 px" in refusal(mixed, dataset, *with_toy)
    maps, broken = (
        script(network, tmp_path / f"{network.__class__.__name__}.pt") for network in (Maps(), NotANumber())
    )
    assert "an extractor returns [n, d]" in refusal(run, "-n", 20, "--extractor", maps)
    for metric in ("fid", "kid"):
        assert "features of shards: hold infinities or NaN" in refusal(
            dataset, dataset, "--extractor", broken, "--metrics", metric
        )
    assert "intra_fid: class 0 has" in refusal(
        run, "-n", 16, "--metrics", "intra_fid", *with_toy, "--data", few(tmp_path)
    )


def few(folder: Path) -> Path:
    (folder / "few").mkdir()
    return runs.pack_noise(folder / "few", classes=12, images=36)


def test_a_generator_that_has_diverged_is_named(run: Path, toy: Path) -> None:
    model = ganlab.load(run)
    with torch.no_grad():
        next(model.ema.parameters()).fill_(float("nan"))
    from ganlab.evaluation.images import Samples

    with pytest.raises(ganlab.types.UserError, match="of the generator hold infinities or NaN"):
        Samples(model, 64).block(0)


def test_a_run_that_was_sent_cannot_name_a_program(run: Path, toy: Path) -> None:
    shutil.copy(toy, run / "evil.pt")
    config = (
        (run / "config.yaml")
        .read_text()
        .replace(
            "  extractor: null",
            f"  extractor:\n    _target_: ganlab.metrics.features.TorchScriptFeatures\n    path: {run / 'evil.pt'}",
        )
    )
    (run / "config.yaml").write_text(config)
    assert "fid: needs an extractor" in runs.refused("evaluate", run)
    trust = ("--trust", "ganlab.metrics")
    assert "evil.pt: lies in the run's own folder" in runs.refused("evaluate", run, *trust)


def test_images_below_the_patches_of_swd_and_the_window_of_msssim_are_refused(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 6, 20, 3), np.uint8)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", images)
    said = runs.refused("evaluate", tmp_path / "a.npy", tmp_path / "b.npy", "--metrics", "swd")
    assert "swd: b has images of 6x20 px, and its patches are 7x7" in said
    said = runs.refused("evaluate", tmp_path / "a.npy", tmp_path / "b.npy", "--metrics", "msssim")
    assert "msssim: a has images of 6x20 px, and its window is 11x11; leave the metric out" in said

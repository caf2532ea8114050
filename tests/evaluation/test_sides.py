"""What may stand on either side: a run, shards anywhere, images by file."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_runs as runs
import torch
from PIL import Image
from test_evaluate import done, fake_pixels, real_pixels, results, write_pictures
from web import serve

from ganlab.evaluation.images import ImageFiles, open_images

pytestmark = pytest.mark.usefixtures("one_thread")


def test_folders_zips_and_shards_of_the_same_images_agree(dataset: Path, toy: Path, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", real_pixels(dataset)[:100])
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    said = [
        done(images, dataset, "--extractor", toy, *more).split("fid")[1].split()[0]
        for images, more in ((folder, ()), (tmp_path / "pictures.zip", ()), (dataset, ("-n", 100)))
    ]
    assert said[0] == said[1] == said[2]
    assert float(done(dataset, dataset, "--extractor", toy).split()[1]) == pytest.approx(0, abs=1e-6)
    (folder / "originals.tar").write_bytes((dataset / "shard-000000.tar").read_bytes())  # beside photographs
    assert done(folder, dataset, "--extractor", toy).split("fid")[1].split()[0] == said[0]


@pytest.fixture
def served(dataset: Path) -> Iterator[str]:
    """The address of the shards on a web server."""
    with serve(dataset.parent) as address:
        yield f"{address}/{dataset.name}"


@pytest.mark.slow
def test_either_side_may_be_shards_on_a_server_or_some_of_them_or_a_run(
    run: Path, dataset: Path, toy: Path, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def value(*sides: object) -> float:
        return float(done(*sides, "--extractor", toy).split()[1])

    some = value(f"{dataset}/shard-{{000000..000001}}.tar", dataset)
    assert some == value(f"http://{served}/shard-{{000000..000001}}.tar", f"http://{served}/") > 0
    for url in (f"http://name:secret@{served}", f"http://{served}?sig=secret"):
        for words in ((run, url), (run, "--data", url), (url, dataset)):
            said = runs.refused("evaluate", *words, "--extractor", toy)
            assert "which would be saved with the run" in said and "secret@" not in said and "=secret" not in said
    done(run, f"http://{served}?unheard-of=secret", "--extractor", toy, "-n", 100)
    text = (run / "results.jsonl").read_text()
    assert results(run)["fid"]["protocol"]["reals"] == "shards" and "secret" not in text
    written = value(write_pictures(tmp_path / "written", fake_pixels(run, 100)), dataset)
    assert results(run)["fid"]["value"] == pytest.approx(written, rel=1e-3)  # as printed
    monkeypatch.setattr("ganlab.commands.evaluate.SAMPLES", 100)
    assert f"fid240_{run.name}-full100_toy." in done(dataset, run, "--extractor", toy)
    assert "/absent/index.json: " in runs.refused("evaluate", run, f"http://{served}/absent", "--extractor", toy)


@pytest.mark.slow
def test_the_reals_of_a_run_are_as_many_and_cached_where_its_config_says(
    run: Path, dataset: Path, toy: Path, served: str, cache: Path, tmp_path: Path
) -> None:
    config = run / "config.yaml"
    settled = config.read_text()
    config.write_text(
        settled.replace("  data: null", f"  data: http://{served}")
        .replace("  reals: null", "  reals: 100")
        .replace("    folder: null", f"    folder: {tmp_path / 'node'}")
    )
    done(run, "--extractor", toy, "-n", 100, "--metrics", "fid,kid")
    assert len(list((tmp_path / "node").rglob("shard-*.tar"))) == 1  # the first of three holds them all
    assert not list(cache.parent.rglob("shard-*.tar"))
    for row in results(run).values():
        assert "_shards-first100_" in row["name"]
        assert (row["protocol"]["reals_images"], row["protocol"]["reals_total"]) == (100, 240)
    config.write_text(settled.replace("  reals: null", "  reals: 241"))
    said = runs.refused("evaluate", run, "--extractor", toy)
    assert "shards: 241 images asked for (-n, or evaluation.reals), and it has 240" in said


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent", "absent: no such file or folder; give a folder of images"),
        ("absent/x-{0..3}.tar", "x-0.tar: no such file or folder; give a folder of images"),
        ("pipe://cat", "would run a shell"),
        ("notes.txt", "notes.txt: not a source of images"),
    ],
)
def test_what_cannot_be_opened_is_one_clear_error(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    for sides in ((path, dataset), (dataset, path), (dataset, "--data", path)):
        assert message in runs.refused("evaluate", *sides, "--metrics", "swd")


def test_files_notice_that_they_have_changed(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", torch.zeros(20, 1, 16, 16, dtype=torch.uint8))
    before = ImageFiles(folder).fingerprint
    assert ImageFiles(folder).fingerprint == before
    Image.new("L", (16, 16), 9).save(folder / "00003.png")
    assert ImageFiles(folder).fingerprint != before
    assert open_images(str(folder)).classes == 0

"""Films: what their frames are, in every format, and that walks end where they began."""

import base64
import shutil
import sys

import av
import numpy as np
import pytest
import torch
from PIL import Image
from test_startup import imported
from tiny_runs import ganlab, refused

from ganlab.commands.walk import columns_of, ways
from ganlab.experiment.load import load
from ganlab.latents.codes import Code, of_seed
from ganlab.latents.walks import closed, slerp, steps_between
from ganlab.pictures.films import TICK, VIDEOS, write_film, write_timelapse
from ganlab.pictures.grids import to_uint8

pytestmark = pytest.mark.usefixtures("one_thread")
SUFFIXES = (".webp", ".gif", ".png", ".apng", ".avif", ".mp4", ".webm")
PLAY = """async url => {
    const film = Object.assign(document.createElement("video"), {src: url, muted: true});
    const over = new Promise((resolve, reject) => { film.onended = resolve; film.onerror = () => reject(film.error); });
    await film.play();
    await over;
    return [film.videoWidth, film.videoHeight, film.currentTime];
}"""
DECODE = """async ([url, type]) => {
    const data = await (await fetch(url)).arrayBuffer(), decoder = new ImageDecoder({data, type});
    await decoder.completed;
    const {image} = await decoder.decode({frameIndex: 3}), track = decoder.tracks.selectedTrack;
    return [image.displayWidth, image.displayHeight, track.frameCount, track.repetitionCount === Infinity];
}"""
"""By a browser: the size, the frames, and whether it begins anew."""


def frames_in(path):
    """Each frame of a film [h, w, 3], and the milliseconds that it is shown for."""
    if path.suffix in VIDEOS:
        with av.open(str(path)) as film:
            return [(frame.to_ndarray(format="rgb24"), TICK) for frame in film.decode(video=0)]
    with Image.open(path) as film:
        found = []
        for number in range(film.n_frames):
            film.seek(number)
            found.append((np.asarray(film.convert("RGB")), film.info["duration"]))
        return found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_frame_is_there_in_its_order_for_its_time(tmp_path, suffix):
    greys = (20, 90, 160, 230)
    write_film((Image.new("RGB", (33, 20), (grey,) * 3) for grey in greys), [1, 3, 1, 5], tmp_path / f"film{suffix}")
    found = frames_in(tmp_path / f"film{suffix}")
    assert {pixels.shape for pixels, _ in found} == {(20, 34, 3)}
    shown = [(float(pixels[:, :32].mean()), TICK) for pixels, ms in found for _ in range(round(ms / TICK))]
    expected = [grey for grey, ticks in zip(greys, (1, 3, 1, 5), strict=True) for _ in range(ticks)]
    assert [grey for grey, _ in shown] == pytest.approx(expected, abs=4)
    if suffix not in VIDEOS:
        with Image.open(tmp_path / f"film{suffix}") as film:
            assert film.info.get("loop", 0) == 0


@pytest.mark.slow
def test_a_browser_plays_them(tmp_path, chromium):
    page = chromium.new_page()
    page.goto(tmp_path.as_uri())
    for suffix in SUFFIXES:
        film = tmp_path / f"film{suffix}"
        write_film((Image.new("RGB", (64, 48), (grey,) * 3) for grey in (20, 90, 160, 230)), [1, 1, 1, 2], film)
        kind = "png" if suffix == ".apng" else suffix[1:]
        type_ = f"{'video' if suffix in VIDEOS else 'image'}/{kind}"
        url = f"data:{type_};base64,{base64.b64encode(film.read_bytes()).decode()}"
        if suffix in VIDEOS:
            assert page.evaluate(PLAY, url) == [64, 48, pytest.approx(5 * TICK / 1000, abs=0.011)], suffix
        else:
            assert page.evaluate(DECODE, [url, type_]) == [64, 48, 4, True], suffix
    page.close()


def test_a_timelapse_has_the_pictures_of_the_last_ones_size_and_says_how_many_images_were_seen(tmp_path):
    for number in range(4):
        size = (50, 50) if number == 1 else (1400, 700)
        Image.new("RGB", size, (60 * number, 0, 0)).save(tmp_path / f"nimg-{number * 1000:012d}.png")
    write_timelapse(sorted(tmp_path.glob("nimg-*.png")), tmp_path / "film.gif")
    found = frames_in(tmp_path / "film.gif")
    assert [(int(pixels[9, 9, 0]), ms) for pixels, ms in found] == [(0, 400), (120, 400), (180, 2000)]
    assert all(pixels.shape[1] == 1024 and pixels.shape[0] > 512 for pixels, _ in found)
    dark = [(pixels[514:].sum(-1) < 100).sum() for pixels, _ in found]
    assert dark[0] > 50 and dark[1] > dark[0]  # "0 images", and "2,000 images"


def test_a_timelapse_of_a_run_needs_no_torch(finished, tmp_path):
    assert imported(("film", finished, "--timelapse", "--out", tmp_path / "film.webp")) == set()
    pictures = sorted((finished / "samples").glob("nimg-*.png"))
    found = frames_in(tmp_path / "film.webp")
    assert len(found) == len(pictures)
    for (pixels, _), path in zip(found, pictures, strict=True):
        with Image.open(path) as picture:
            there = np.asarray(picture.convert("RGB")).astype(float)
        assert np.abs(pixels[: there.shape[0], : there.shape[1]] - there).mean() < 6


# --- walks


def test_arcs_keep_the_length_and_the_speed():
    a, b = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    b = b * a.norm() / b.norm()
    way = steps_between(a, b, 9)
    assert torch.allclose(way[[0, -1]], torch.stack([a, b])) and torch.allclose(way.norm(dim=1), a.norm())
    angles = torch.cosine_similarity(way[1:], way[:-1]).acos()
    assert torch.allclose(angles, angles[:1]) and angles.sum().item() == pytest.approx(
        torch.cosine_similarity(a, b, 0).acos().item()
    )
    share = torch.tensor([0.25])
    for end in (a, a * (1 + 1e-9), -a, torch.zeros_like(a)):  # no angle, none to speak of, no way to turn, no direction
        assert slerp(a, end, share).isfinite().all()
    assert torch.allclose(slerp(a, a, share), a)


def test_a_walk_visits_its_keys_and_closes(finished):
    model = load(finished)
    codes = of_seed(model, [0, 1, 2], 0)
    keys = torch.stack([code.latents for code in codes])
    way = closed(keys, 10)
    assert way.shape == (30, 8) and torch.allclose(way[::10], keys)
    hops = (way - way.roll(1, 0)).norm(dim=1)
    assert hops.max() / hops.min() < 3  # the hop from the last to the first too
    rows = [[Code(code.latents, label) for label in (0, 2)] for code in codes]
    assert [code.label for code in ways(model, rows, 10)] == [0, 2] * 30
    own = [[Code(code.latents, number)] for number, code in enumerate(codes)]
    assert [code.label for code in ways(model, own, 10)][:16] == [0] * 5 + [1] * 10 + [
        2
    ]  # from halfway on the next one's
    assert [columns_of(n) for n in (1, 2, 3, 4, 7, 10, 12)] == [1, 2, 3, 2, 4, 5, 4]


def test_a_walk_shows_the_images_that_sample_names(finished, tmp_path):
    said = ganlab(
        "film", finished, "--walk", "3,5", "--labels", "1,0", "--seconds", 0.2, "--out", tmp_path / "walk.png"
    )
    assert said.exit_code == 0, said.output
    assert "2 images, 0.2 s from each to the next and back to the first; classes, 2 in a row: 1, 0" in said.stderr
    found = frames_in(tmp_path / "walk.png")
    assert len(found) == 10
    model = load(finished)
    for number, frame in ((3, 0), (5, 5)):
        (code,) = of_seed(model, [number], 0)
        with torch.no_grad():
            images = to_uint8(model.averaged(code.latents.expand(2, -1), torch.tensor([1, 0])))
        cells = found[frame][0]
        scale = cells.shape[0] // (48 + 4)
        for column in range(2):
            left = (2 + 50 * column) * scale
            cell = cells[2 * scale : 50 * scale, left : left + 48 * scale, 0][:: 3 * scale, :: 3 * scale]
            assert np.abs(cell.astype(int) - images[column, 0].numpy()).max() <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "film: give one of --timelapse and --walk NUMBERS"),
        (("--timelapse", "--walk", "1"), "film: give one of --timelapse and --walk NUMBERS"),
        (("--timelapse", "--out", "film.mov"), "film.mov: no format of films; let its name end in one of .webp, .gif"),
        (("--walk", "a-b"), "--walk: 'a-b': write numbers and ranges"),
        (("--walk", "1", "--labels", "9"), "labels: 9: no such class; write numbers from 0 to 2"),
        (("--walk", "x.json", "--truncation", 1), "--truncation: the images of a latents.json have their own"),
        (("--walk", "1", "--truncation", 0), "truncation: 0.0: write a number above 0"),
        (("--walk", "none.json"), "none.json: No such file or directory"),
    ],
)
def test_mistakes_are_told(finished, words, said):
    assert refused("film", finished, *words).startswith(said)


def test_runs_without_pictures_and_missing_extras_are_told(finished, tmp_path, monkeypatch):
    assert "no such folder; give the folder of a run" in refused("film", tmp_path / "none", "--timelapse")
    shutil.copy(finished / "config.yaml", tmp_path)
    assert "has no pictures yet; the first comes after a minute" in refused("film", tmp_path, "--timelapse")
    monkeypatch.setitem(sys.modules, "av", None)
    said = refused("film", finished, "--timelapse", "--out", tmp_path / "film.mp4")
    assert said.strip() == f"{tmp_path / 'film.mp4'}: .mp4 needs `pip install 'ganlab[video]'`; or write a .webp"

"""A run's records as data: read while they are written, drawn for papers and shown in notebooks."""

import json
import sys
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
import tiny_runs as runs
from PIL import Image
from told import HOSTILE, TERM, metrics, write_lines, write_run

import ganlab
from ganlab.experiment.lines import Columns, Lines
from ganlab.pictures.charts import MOST, svg, thinned
from ganlab.pictures.panels import Line, Mark, Panel, panels


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("records") / HOSTILE)


# --- lines


def test_lines_are_read_as_they_come(tmp_path):
    lines = Lines(tmp_path / "lines.jsonl")
    assert lines.read() == (False, [])
    with (tmp_path / "lines.jsonl").open("w") as file:
        for text, found in [
            ('{"a": 1}\n{"a"', [{"a": 1}]),
            (": 2", []),
            ("}\n", [{"a": 2}]),
            ('{"a": \n[3]\n\n{"a": 4}\n', [{"a": 4}]),  # a torn line that was ended, and what is no object
        ]:
            file.write(text)
            file.flush()
            assert lines.read()[1] == found
    write_lines(tmp_path / "new", [{"a": 5}])
    (tmp_path / "new").replace(tmp_path / "lines.jsonl")
    assert lines.read() == (True, [{"a": 5}]) and lines.read() == (False, [])
    (tmp_path / "lines.jsonl").write_text("")  # shorter in place
    assert lines.read() == (True, [])


def test_columns_have_a_number_for_each_line():
    columns = Columns([{"nimg": 1, "x": 2.0}, {"nimg": 2, "y": 5, "text": "t"}, {"nimg": 3, "x": None}])
    columns.add([{"nimg": 4, "x": 7, "time": "1970-01-01T00:01:00+00:00"}, {"nimg": 5, "x": "what", "y": 1.5}])
    expected = {
        "nimg": [1, 2, 3, 4, 5],
        "x": [2, np.nan, np.nan, 7, np.nan],
        "y": [np.nan, 5, np.nan, np.nan, 1.5],
        "time": [np.nan, np.nan, np.nan, 60, np.nan],
    }
    assert {*columns} == {*expected}
    for name, values in expected.items():
        np.testing.assert_array_equal(columns[name], values, name)
    for name, nimg, values in (("x", [1, 3, 4], [2, np.nan, 7]), ("y", [2, 5], [5, 1.5])):  # not there is no gap
        np.testing.assert_array_equal(columns.curve(name), [nimg, values], name)


# --- charts


def test_a_thinned_curve_keeps_its_spikes_and_gaps():
    x = np.arange(100_000.0)
    y = np.sin(x / 1000)
    y[[123, 77_777]] = 50, -60
    y[40_000:41_000] = np.nan
    near, kept = thinned(x, y)
    assert len(near) <= MOST and (np.diff(near) > 0).all()
    assert {123, 77_777} <= {*near.tolist()} and (np.nanmax(kept), np.nanmin(kept)) == (50, -60)
    assert np.isnan(kept[(near >= 40_000) & (near < 41_000)]).any()
    few = thinned(x[:MOST], y[:MOST])
    assert few[0] is not None and len(few[0]) == MOST


def test_a_chart_in_a_page_has_no_style_and_ids_of_its_own():
    x = np.arange(9.0)
    lines = [Line(name, x, x**2, number, number) for number, name in enumerate(("_a", "$\\frac", "<b>"))]
    marks = [Mark(3.0, "phase & more"), Mark(5.0, "not-finite", bad=True)]
    drawn = [svg(Panel(title, lines, marks)) for title in ("one", "two")]
    ids = []
    for text in drawn:
        root = ElementTree.fromstring(text)
        assert not [
            e.tag for e in root.iter() if e.tag.endswith(("style", "metadata", "script")) or "style" in e.attrib
        ]
        own = {e.attrib["id"] for e in root.iter() if "id" in e.attrib}
        used = {v.strip("url()#") for e in root.iter() for k, v in e.attrib.items() if k in ("href", "clip-path")}
        assert used <= own and own
        ids.append(own)
        said = "".join(root.itertext())
        assert all(part in said for part in (" _a", "$\\frac", "<b>", "phase & more", "not-finite"))
        assert root.attrib["role"] == "img" and "_a, 0 to 64" in root.attrib["aria-label"]
    assert not ids[0] & ids[1]
    assert svg(Panel("one", lines, marks)) == drawn[0]


def test_what_shares_a_chart():
    found = {panel.title: [line.label for line in panel.lines] for panel in panels({"a": Columns(metrics(4))})}
    assert found == {
        "Losses": ["discriminator/loss", "generator/loss"],
        "What the discriminator says: mean logits": ["discriminator/real_logit", "discriminator/fake_logit"],
        "Standard deviation of the logits": ["discriminator/real_logit_spread"],
        "Share that the discriminator calls real": ["discriminator/real_called_real"],
        "Norms of the gradients": ["discriminator/gradient_norm", "generator/gradient_norm"],
        TERM: [TERM],
        "Images per second": ["images_per_second"],
        "Share of the machine's limit": ["share"],
        "Peak memory, bytes": ["memory_bytes"],
        "Learning rates": ["discriminator/lr"],
        "Where the time goes": ["data", "discriminator", "generator"],
    }
    two = panels({"a": Columns(metrics(4)), "b": Columns(metrics(2))})
    assert [(line.label, line.colour, line.dash) for line in two[0].lines] == [
        ("a: discriminator/loss", 0, 0),
        ("a: generator/loss", 0, 1),
        ("b: discriminator/loss", 1, 0),
        ("b: generator/loss", 1, 1),
    ]


# --- for papers


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pdf", "svg", "png", "eps"])
def test_a_plot_is_the_same_bytes_each_time(run, tmp_path, form):
    out = tmp_path / f"losses.{form}"
    assert runs.ganlab("plot", run, "--out", out, "--metrics", "*/loss,discriminator/lr").stdout == f"{out}\n"
    first = out.read_bytes()
    assert first.startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG", "eps": b"%!PS"}[form])
    if form != "eps":
        runs.ganlab("plot", run, "--out", out, "--metrics", "*/loss,discriminator/lr")
        assert out.read_bytes() == first
    if form == "pdf":
        assert b"/CIDFontType2" in first and b"/Type3" not in first  # journals refuse Type 3 fonts


@pytest.mark.slow
def test_a_plot_of_all_metrics_has_room_for_its_legend(run, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib's, of axes without room
        assert runs.ganlab("plot", run, "--out", tmp_path / "all.png", "--metrics", "*").exit_code == 0
    assert Image.open(tmp_path / "all.png").height > 2 * 690


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--out", "x.doc"],
            "--out x.doc: a plot is one of .pdf, .svg, .png, .eps; give the file one of these",
        ),
        (
            ["--out", "x.pdf", "--metrics", "loss"],
            "--metrics loss: there is no such metric; there are seconds, ",
        ),
    ],
)
def test_a_plot_that_cannot_be_is_refused(run, words, said):
    assert said in runs.refused("plot", run, *words)


def test_a_run_without_metrics_has_no_plot(tmp_path):
    run = write_run(tmp_path / "begun", lines=0, grids=0)
    assert "no metrics yet: the first line comes after train.tick_nimg" in runs.refused("plot", run, "--out", "x.pdf")


# --- in notebooks


def test_a_run_in_a_notebook(run):
    told = ganlab.Run(run)
    frame = told.metrics
    assert list(frame["nimg"]) == [1000 * k for k in range(1, 21)] and frame["generator/loss"].isna().sum() == 1
    assert str(frame["time"].iloc[0]) == "2026-11-26 00:00:01+00:00"
    assert [event["event"] for event in told.events][:2] == ["start", "phase"]
    assert [row["value"] for row in told.results] == [25.0, 20.0]
    assert told.config["model"]["_target_"] == "ganlab.models.DCGAN"
    assert told._repr_png_() == (run / "samples" / "nimg-000000020000.png").read_bytes()
    page = told._repr_html_()
    assert page.count("<svg") == 11 and "<script" not in page and "wide &lt;b&gt;" in page
    assert repr(told).endswith(": 20,000 images")


def test_without_pandas_metrics_are_arrays(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    told = ganlab.Run(run).metrics
    assert isinstance(told["nimg"], np.ndarray) and told["nimg"][-1] == 20_000


def test_a_run_that_goes_on_is_read_on(tmp_path):
    run = write_run(tmp_path / "run", lines=2)
    told = ganlab.Run(run)
    assert len(told.columns["nimg"]) == 2
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(metrics(3)[2]) + "\n")
    assert told.columns["nimg"].tolist() == [1000, 2000, 3000]
    write_lines(run / "metrics.jsonl", metrics(1))
    assert told.columns["nimg"].tolist() == [1000]

"""The report of runs: one file that opens offline, asks for nothing, and is whole without JavaScript."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from ganlab.pages import story, values
from ganlab.pages.images import Shown, shown
from ganlab.pages.run import Picture, Run
from ganlab.pages.templates import hash_of, render, text_of
from ganlab.pictures.charts import svg
from ganlab.pictures.panels import Mark, panels

SAMPLES = "nimg"
TITLES = {
    SAMPLES: "Samples",
    "made": "What it makes of real images",
    "neighbours": "Samples and the reals nearest to them",
    "truncation": "Truncation",
    "field": "Where the discriminator would push samples",
    "spectrum": "Power spectrum of fakes against reals",
}
"""What the kinds of pictures show; others are called by their kind."""


def report(runs: Sequence[Run]) -> str:
    """Return the page of runs as HTML."""
    named = names_of(runs)
    drawn = panels({name: run.columns for name, run in named.items()}, marks_of(named))
    script, style = text_of("report.js"), text_of("style.css") + text_of("report.css")
    return render(
        "report.html",
        title=", ".join(named),
        policy=f"default-src 'none'; img-src data:; style-src {hash_of(style)}; script-src {hash_of(script)}; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(style),  # noqa: S704 (files of the package)
        script=Markup(script),  # noqa: S704
        charts=[Markup(svg(panel)) for panel in drawn],  # noqa: S704 (of an XML writer, which escapes)
        value_charts=[Markup(svg(panel)) for panel in values.panels(named)],  # noqa: S704
        sections=[section(name, run) for name, run in named.items()],
        pictures=pictures_of(named),
        differences=story.differences(named),
        names=[*named],
    )


def names_of(runs: Sequence[Run]) -> dict[str, Run]:
    """Name runs by their folders, or by their paths where two folders have one name."""
    names = [run.name for run in runs]
    return {name if names.count(name) == 1 else str(run.path): run for name, run in zip(names, runs, strict=True)}


def marks_of(runs: Mapping[str, Run]) -> list[Mark]:
    """Return what happened in each run: of several, with its name and in its colour."""
    found = [(name, colour, mark) for colour, (name, run) in enumerate(runs.items()) for mark in story.marks(run)]
    if len(runs) == 1:
        return [mark for *_, mark in found]
    return [replace(mark, label=f"{name}: {mark.label}", colour=colour) for name, colour, mark in found]


def section(name: str, run: Run) -> dict[str, Any]:
    """Return what the page says of one run."""
    events, left_out = story.happened(run)
    return {
        "name": name,
        "summary": story.summary(run),
        "events": events,
        "left_out": left_out,
        "machines": story.machines(run),
        "config": story.config_text(run),
        "values": values.rows_of(run),
    }


def pictures_of(runs: Mapping[str, Run]) -> list[dict[str, Any]]:
    """Return the pictures of all runs: by run, each kind with a title, and how many there are in all."""
    kinds: list[tuple[str, str, list[Picture]]] = [
        (name, kind, pictures) for name, run in runs.items() for kind, pictures in ordered(run.pictures)
    ]
    series: list[list[Shown]] = shown([pictures for _, _, pictures in kinds])
    return [
        {"run": name, "title": TITLES.get(kind, kind), "images": images, "count": len(pictures)}
        for (name, kind, pictures), images in zip(kinds, series, strict=True)
    ]


def ordered(pictures: Mapping[str, list[Picture]]) -> list[tuple[str, list[Picture]]]:
    """Return the kinds of pictures in the order of their titles, then others."""
    known = [(kind, pictures[kind]) for kind in TITLES if kind in pictures]
    return known + [(kind, found) for kind, found in pictures.items() if kind not in TITLES]

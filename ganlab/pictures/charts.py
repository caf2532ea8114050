"""Charts by matplotlib without pyplot: SVG that may stand in a page, and files for papers."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray
from PIL import Image

from ganlab.files import atomic_write
from ganlab.pictures.panels import IMAGES, Line, Panel

Numbers = NDArray[np.float64]

MOST = 400
"""Points of a curve; of more, the highest and the lowest of each piece are kept."""
LONGEST = 48
"""Letters of a label; a longer one is cut."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b0529a", "#9a7400", "#5e6bd6")
"""Apart for the colour-blind, and visible on white and on black; a seventh line begins anew."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
BAD = "#cc2222"
INK = "#1a1b1c"
"""Of text and axes: in a page it becomes the page's own colour."""
STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "font.size": 10.0,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.handlelength": 4.0,  # that dashes show beside the marker
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
    "svg.hashsalt": "ganlab",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}
PAPER: Any = {"font.size": 8.0, "legend.handlelength": 2.0, "lines.linewidth": 1.0, "pdf.fonttype": 42}
"""For a column of a paper: embedded TrueType fonts, as journals ask for."""
SVG = "http://www.w3.org/2000/svg"


def thinned(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """Return at most `MOST` points of a curve: the lowest and the highest of each piece, so that spikes stay.

    A piece of NaN alone stays a gap.
    """
    if len(x) <= MOST:
        return x, y
    kept = list[int]()
    for piece in np.array_split(np.arange(len(x)), MOST // 2):
        finite = piece[np.isfinite(y[piece])]
        if len(finite):
            kept += sorted({int(finite[y[finite].argmin()]), int(finite[y[finite].argmax()])})
        else:
            kept.append(int(piece[0]))
    return x[kept], y[kept]


def draw(figure: FigureBase, panel: Panel) -> None:
    """Draw a chart into an empty figure."""
    axes = figure.add_subplot()
    axes.set_title(shortened(panel.title), loc="left")
    axes.set_xlabel(panel.across)
    if panel.across == IMAGES:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    drawn = draw_stack(axes, panel.lines) if panel.stacked else [draw_line(axes, line) for line in panel.lines]
    values = np.concatenate([line.y[np.isfinite(line.y)] for line in panel.lines] or [np.zeros(0)])
    if panel.share:
        axes.set_ylim(-0.02, 1.02)
    if panel.log and len(values) and values.min() > 0 and values.max() > 20 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    elif len(values) and abs(values).max() >= 1e4:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    else:
        axes.yaxis.set_major_formatter("{x:.6g}")
    for number, mark in enumerate(panel.marks):
        colour = (BAD if mark.bad else INK) if mark.colour is None else COLOURS[mark.colour % len(COLOURS)]
        line = axes.axvline(mark.x, color=colour, linewidth=0.9, alpha=0.7, linestyle=":")
        line.set_gid(f"mark {number}")
    if len(drawn) > 1:
        names = labels_of(panel)
        fixed = isinstance(figure, Figure) and figure.get_layout_engine() is None
        place: Any = "lower left" if fixed else "outside lower left"
        figure.legend(drawn, names, loc=place, ncols=columns_of(names), fontsize="small")


def labels_of(panel: Panel) -> list[str]:
    """Return the labels of a chart's legend."""
    return [shortened(line.label) for line in panel.lines]


def columns_of(labels: Sequence[str]) -> int:
    """Return the columns of a legend."""
    return 1 if max(map(len, labels)) > 28 else 2


def height_of_legend(panel: Panel) -> float:
    """Return the height of a chart's legend in inches."""
    labels = labels_of(panel)
    return -(-len(labels) // columns_of(labels)) * 0.17 + 0.08 if len(labels) > 1 else 0.0


def draw_line(axes: Any, line: Line) -> Any:
    """Draw a curve, with its errors and its floor, and a cross at the bottom where a value was not finite."""
    colour, dash = COLOURS[line.colour % len(COLOURS)], DASHES[line.dash % len(DASHES)]
    few = {"marker": "o", "markersize": 3.5} if len(line.x) < 12 else {}
    (drawn,) = axes.plot(*thinned(line.x, line.y), color=colour, linestyle=dash, **few)
    if line.error is not None:
        axes.errorbar(line.x, line.y, line.error, fmt="none", ecolor=colour, capsize=2, linewidth=1)
    if line.floor is not None:
        axes.axhline(line.floor, color=colour, linewidth=0.8, linestyle=":")
    bad = line.x[~np.isfinite(line.y)][:MOST]
    axes.plot(bad, np.full(len(bad), 0.02), "x", color=BAD, markersize=5, transform=axes.get_xaxis_transform())
    return drawn


def draw_stack(axes: Any, lines: Sequence[Line]) -> list[Any]:
    """Draw shares of 1 on top of each other."""
    some = np.unique(np.linspace(0, len(lines[0].x) - 1, min(len(lines[0].x), MOST // 2)).astype(int))
    colours = [COLOURS[line.colour % len(COLOURS)] for line in lines]
    axes.set_ylim(0, 1)
    alphas = (0.9, 0.45)
    drawn = axes.stackplot(lines[0].x[some], [line.y[some] for line in lines], colors=colours)
    for number, area in enumerate(drawn):
        area.set_alpha(alphas[number // len(COLOURS) % 2])
    return list(drawn)


def shortened(text: str) -> str:
    """Cut a long text; matplotlib would leave a label out that begins with an underscore."""
    text = f"{text[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}" if len(text) > LONGEST else text
    return f" {text}" if text.startswith("_") else text


def figure_of(panel: Panel) -> Figure:
    """Draw a chart for a page, with fixed margins in inches: matplotlib's own layout takes twice as long."""
    legend = height_of_legend(panel)
    width, height = 5.6, 2.9 + legend
    figure = Figure((width, height))
    draw(figure, panel)
    figure.subplots_adjust(0.8 / width, (0.52 + legend) / height, 1 - 0.18 / width, 1 - 0.3 / height)
    return figure


def svg(panel: Panel) -> str:
    """Draw a chart as an SVG element that a page may hold whatever its Content-Security-Policy.

    It has no `style`, no ids that another chart may have, the page's own colour of text, and its text stays text.
    """
    out = io.BytesIO()
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has the letter
        figure_of(panel).savefig(out, format="svg", transparent=True, metadata={"Date": None})
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(out.getvalue())  # noqa: S314 (our own)
    mark_titles = {f"mark {number}": mark.label for number, mark in enumerate(panel.marks)}
    prefix = sha256(panel.title.encode()).hexdigest()[:8]
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        clean(element, mark_titles, prefix)
    for size in ("width", "height"):
        root.attrib.pop(size)
    root.attrib.update({"role": "img", "aria-label": described(panel)})
    root.attrib.update({"stroke-linejoin": "round", "fill": "currentColor"})
    text = ElementTree.tostring(root, encoding="unicode")
    return text.replace(INK, "currentColor")


def clean(element: ElementTree.Element, titles: Mapping[str, str], prefix: str) -> None:
    """Turn an element's style into attributes, and its id into one of this chart's own."""
    at = element.attrib
    for rule in filter(None, (part.strip() for part in at.pop("style", "").split(";"))):
        name, _, value = rule.partition(":")
        if name == "font":
            at["font-size"] = re.search(r"[\d.]+px", value)[0]  # type: ignore[index]
        else:
            at[name.strip()] = value.strip()
    if (own := at.pop("id", "")) in titles:
        ElementTree.SubElement(element, f"{{{SVG}}}title").text = titles[own]
    elif own and element.tag.rpartition("}")[2] in ("clipPath", "path", "symbol"):
        at["id"] = f"{prefix}-{own}"
    for name in [name for name in at if name.rpartition("}")[2] in ("clip-path", "href")]:
        value = at.pop(name)  # HTML has no xlink:href
        at[name.rpartition("}")[2]] = value.replace("#", f"#{prefix}-")


def described(panel: Panel) -> str:
    """Say in words what a chart shows."""
    parts = []
    for line in panel.lines:
        finite = line.y[np.isfinite(line.y)]
        ends = f", {finite[0]:.3g} to {finite[-1]:.3g}" if len(finite) else ", nothing finite"
        parts.append(f"{shortened(line.label)}{ends}")
    return f"{panel.title} against {panel.across}: {'; '.join(parts)}"


def image_of(panel: Panel) -> Image.Image:
    """Draw a chart as a picture, on white."""
    out = io.BytesIO()
    with rc_context(STYLE):
        figure_of(panel).savefig(out, format="png", dpi=120)
    return Image.open(out).convert("RGB")


def save(panels: Sequence[Panel], path: Path, form: str) -> None:
    """Write charts below each other, as wide as a column of a paper; the same charts give the same bytes."""
    width, height, legend = 3.3, 2.3, 0.42  # a chart with a legend of two rows
    heights = [height + max(0.0, height_of_legend(panel) - legend) for panel in panels]
    dates: Mapping[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form, {})
    with rc_context({**STYLE, **PAPER}), warnings.catch_warnings(), atomic_write(path) as file:
        warnings.filterwarnings("ignore", "Glyph .* missing")
        sheet = Figure((width, sum(heights)), layout="constrained")
        parts: Any = sheet.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)
        for part, panel in zip(parts[:, 0], panels, strict=True):
            draw(part, panel)
        sheet.savefig(file, format=form, dpi=300, metadata=dates)

"""Every paper's game in a tiny form, with the loop that its reader would write: a module each.

A module has `PAPERS`, of `by_hand.Paper` by name. Tests of the engine's promises take them all.
"""

import importlib
import pkgutil

from by_hand import Paper

PAPERS: dict[str, Paper] = {
    name: paper
    for module in sorted(each.name for each in pkgutil.iter_modules(__path__))
    for name, paper in importlib.import_module(f"papers.{module}").PAPERS.items()
}

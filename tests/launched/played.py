"""Plays every paper's tiny game on 1 and 2 processes, and with losses compiled whole; writes what differs.

Usage: played.py OUT. `OUT/found.json` has by name: `two` (the largest difference of a weight between 1 and 2
processes), `ranks` (between ranks), `compiled` (between compiled and eager losses), `graphs` and `logged`.
"""

import json
import logging
import sys
from functools import partial
from pathlib import Path

import forks
import games
import torch
from by_hand import N, Paper, play
from papers import PAPERS

from ganlab import distributed
from ganlab.engine.game import Game
from ganlab.experiment.frame import Machine
from ganlab.experiment.launch import open_group

ROUNDS = 6
NAMES = [name for name, paper in PAPERS.items() if not name.startswith("toy ") and not paper.other_networks]
State = dict[str, torch.Tensor]


def shares(paper: Paper) -> list[State]:
    """This rank's share of every batch."""
    n = N // distributed.world_size()
    start = distributed.rank() * n
    return [{at: each[start : start + n] for at, each in batch.items()} for batch in paper.batches(ROUNDS)]


def ended(paper: Paper) -> State:
    game: Game = play(paper.made(), shares(paper))
    game.settle()
    return game.state_dict()


def in_a_group(out: Path) -> None:
    open_group(Machine(device="cpu", threads=1))
    torch.save({name: ended(PAPERS[name]) for name in NAMES}, out / f"rank-{distributed.rank()}.pt")
    games.destroy()


def compiled(paper: Paper) -> tuple[State, int, list[str]]:
    """The weights that compiled losses end in, the graphs, and what was logged."""
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("ganlab").addHandler(handler)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    game = paper.made()
    game.compile(backend="aot_eager")
    play(game, paper.batches(ROUNDS))
    game.settle()  # as on one process: the average's statistics are copied after a step of its player alone
    logging.getLogger("ganlab").removeHandler(handler)
    return game.state_dict(), torch._dynamo.utils.counters["stats"]["unique_graphs"], logged


def far(paper: Paper, a: State, b: State) -> float:
    compared = [at for at in a if not at.endswith(paper.idle)]
    return max(float((a[at].double() - b[at].double()).abs().max()) for at in compared)


def main(out: Path) -> None:
    torch.set_num_threads(1)
    pids = forks.job(2, partial(in_a_group, out))
    if any(forks.finish(*pids)):
        sys.exit(1)
    first, second = (torch.load(out / f"rank-{rank}.pt") for rank in range(2))
    found = {}
    for name in NAMES:
        one = ended(PAPERS[name])
        whole, graphs, logged = (one, 0, []) if PAPERS[name].second_order else compiled(PAPERS[name])
        found[name] = {
            "two": far(PAPERS[name], one, first[name]),
            "ranks": far(PAPERS[name], first[name], second[name]),
            "compiled": far(PAPERS[name], one, whole),
            "graphs": graphs,
            "logged": logged,
        }
    (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Where a step's work lies, counted without a GPU: operators, bytes, operations and least time, by kind.

The steps run at the papers' size on fake tensors, which have shapes but no values. Bytes are those of the operators'
arguments and results, each once; a convolution's bias, which cuDNN adds in a pass of its own, is a row of its own. The
least time of an operator is the longest of its bytes at the memory's rate, its operations at the matrix rate of their
precision, and a launch. What a GPU takes beyond the sum is kernels that are slower than that, and not the game.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import click
import gpu
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ganlab.experiment.build import build_model
from ganlab.experiment.work import Counter, examples, without_numbers

MATRIX = {torch.float32: 51e12, torch.bfloat16: 804e12}
"""Operations per second of matrix products, measured on an H200 (RESULTS.md), as are the two numbers below."""
MEMORY, LAUNCH = 4.2e12, 6.1e-6
CONVOLUTIONS = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
COPIES = "_to_copy", "copy_", "clone", "cat", "stack", "constant_pad_nd", "slice_backward", "zeros_like", "new_zeros"
PLACES = "gather", "scatter_add", "index", "index_put", "index_select", "upsample_bilinear2d"


@dataclass
class Row:
    """Of one kind."""

    operators: int = 0
    bytes: int = 0
    operations: int = 0
    seconds: float = 0.0

    def add(self, size: int, operations: int, dtype: torch.dtype) -> None:
        self.operators += 1
        self.bytes += size
        self.operations += operations
        self.seconds += max(size / MEMORY, operations / MATRIX.get(dtype, MATRIX[torch.float32]), LAUNCH)


class ByKind(Counter):
    """Counts by kind, with the dtype of the result."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Row] = defaultdict(Row)

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operators, operations = self.operators, self.operations
        found = super().__torch_dispatch__(operator, types, args, kwargs)
        if self.operators > operators:
            written = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
            read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            dtype = written[0].dtype if written else torch.float32
            kind = f"{kind_of(operator, args)}, {str(dtype).removeprefix('torch.')}"
            self.rows[kind].add(sum(map(size_of, read + written)), self.operations - operations, dtype)
            if operator.overloadpacket is torch.ops.aten.convolution and args[2] is not None:
                self.rows[f"biases of convolutions, {kind.split(', ')[-1]}"].add(2 * size_of(found), 0, dtype)
        return found


def size_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def kind_of(operator: Any, args: Any) -> str:
    """Name an operator's kind."""
    name = operator.overloadpacket.__name__
    if operator.overloadpacket in CONVOLUTIONS:
        backward = operator.overloadpacket is CONVOLUTIONS[1]
        weight, groups = (args[2], args[9]) if backward else (args[1], args[8])
        sides = "x".join(map(str, weight.shape[2:]))
        sort = "" if groups == 1 else " depthwise" if weight.shape[1] == 1 else " grouped"
        return f"{sides}{sort} convolutions{' backward' * backward}"
    if name.startswith(PLACES):
        return "gathers, scatters, interpolation"
    if name.startswith(COPIES):
        return "casts, copies, padding"
    return f"leaky_relu{'_backward' * ('backward' in name)}" if name.startswith("leaky") else "elementwise and sums"


def told(title: str, rows: dict[str, Row], least: float) -> None:
    """Print the kinds that take at least a share of all, and the others together."""
    total = Row()
    for row in rows.values():
        total = Row(*(getattr(total, at) + getattr(row, at) for at in Row.__dataclass_fields__))
    rest = Row()
    print(f"{title}: {total.operators:,} operators, {total.bytes / 1e9:,.0f} GB, {total.operations / 1e12:.1f} TFLOP")
    for kind, row in sorted(rows.items(), key=lambda item: -item[1].seconds):
        if row.seconds < least * total.seconds:
            rest = Row(*(getattr(rest, at) + getattr(row, at) for at in Row.__dataclass_fields__))
            continue
        told_row(kind, row)
    told_row("all others", rest)
    told_row("together", total)


def told_row(kind: str, row: Row) -> None:
    print(
        f"  {kind:<46}{row.operators:7,}{row.bytes / 1e9:9.1f} GB{row.operations / 1e12:8.2f} TFLOP"
        f"{1e3 * row.seconds:9.1f} ms"
    )


@click.command()
@click.argument("case", type=click.Choice(list(gpu.CASES)), default="R3GAN 32")
@click.option("--precision", default="bf16", show_default=True)
@click.option("--least", default=0.01, show_default=True, help="Share of the time that a row of its own takes.")
@click.option("--without", multiple=True, type=click.Choice(["augmentation", "penalties"]))
def main(case: str, precision: str, least: float, without: tuple[str, ...]) -> None:
    """Print a table for each player of CASE."""
    config = gpu.config_of(case, (precision, False, False), device="cpu")
    with torch.device("meta"):
        model = build_model(config)
    if "augmentation" in without:
        model.augment = None
    if "penalties" in without:
        for player in model.players.values():
            player.regularizers.clear()
    phase, seconds = model.phases[-1], 0.0
    with without_numbers(model) as copy:
        reals = examples(copy, phase, config.train.batch, torch.device("cpu"))
        for name in copy.players:
            copy.clock.nimg = phase.from_nimg
            with ByKind() as counter:
                copy.step(name, reals)
            told(f"{case}, {config.train.batch} images, {precision}: {name}", counter.rows, least)
            seconds += sum(row.seconds for row in counter.rows.values()) / copy.players[name].mean_period()
    print(f"a round takes at least {1e3 * seconds:.0f} ms: {config.train.batch / seconds:,.0f} images/s")


if __name__ == "__main__":
    main()

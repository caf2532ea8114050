"""ganlab: distributed training of large image GANs."""

from typing import Any

__all__ = ["Run", "load"]


def __getattr__(name: str) -> Any:
    """Import on first use: `ganlab --help` does not wait for torch."""
    if name == "Run":
        from ganlab.pages.run import Run

        return Run
    if name == "load":
        from ganlab.experiment.load import load

        return load
    raise AttributeError(f"module 'ganlab' has no attribute {name!r}")

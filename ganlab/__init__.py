"""ganlab: distributed training of large image GANs."""

from typing import Any

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Import `load` on first use: `ganlab --help` does not wait for torch."""
    if name == "load":
        from ganlab.experiment.load import load

        return load
    raise AttributeError(f"module 'ganlab' has no attribute {name!r}")

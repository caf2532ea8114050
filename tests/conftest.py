"""Shape and type annotations are checked while the tests run; what needs real images finds them here."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("ganlab", "beartype.beartype").__enter__()

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images that may lie beside the repository."""
    folder = Path(os.environ.get("GANLAB_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real images: {folder / 'data'} is absent; name their folder in GANLAB_SHARED")
    return folder

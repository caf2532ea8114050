"""Sources of images for packing."""

from pathlib import Path

from braceexpand import braceexpand

from ganlab.data.make.sources.arrays import open_idx, open_numpy
from ganlab.data.make.sources.base import Source
from ganlab.data.make.sources.files import SUFFIXES, open_folder, open_lmdb, open_tars, open_zip
from ganlab.types import UserError

ACCEPTED = (
    f"a folder of images ({' '.join(SUFFIXES)}), in sub-folders by class or in none; a .zip of images, with labels in "
    "its dataset.json; an images-idx3-ubyte[.gz] file; a .npy or .npz array of uint8 images; the .tar, or the folder "
    "of .tars, of a WebDataset, also as part-{000..127}.tar; an LMDB as LSUN has it; torchvision:CIFAR10:FOLDER"
)


def open_source(path: str | Path) -> Source:
    """Open a source by the form of its path; UserError lists the accepted forms, or the fault of a file."""
    if str(path).startswith("torchvision:") and str(path).count(":") > 1:
        from ganlab.data.make.sources.torchvision_sets import open_torchvision  # its import takes seconds

        source: Source = open_torchvision(str(path))
    else:
        source = _open_path(Path(path))
    if not len(source):
        raise UserError(f"{path}: holds no images; give {ACCEPTED}")
    return source


def _open_path(path: Path) -> Source:
    tars = list(map(Path, braceexpand(str(path)))) if path.suffix == ".tar" else sorted(path.glob("*.tar"))
    if absent := [file for file in tars or [path] if not file.exists()]:
        raise UserError(f"{absent[0]}: no such file or folder; give {ACCEPTED}")
    if tars:
        return open_tars(path, tars)
    if (path / "data.mdb").exists():
        return open_lmdb(path)
    if path.is_dir():
        return open_folder(path)
    if path.suffix == ".zip":
        return open_zip(path)
    if path.name.removesuffix(".gz").endswith("images-idx3-ubyte"):
        return open_idx(path)
    if path.suffix in (".npy", ".npz"):
        return open_numpy(path)
    raise UserError(f"{path}: not a source of images; give {ACCEPTED}")

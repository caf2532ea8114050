"""The declared dependencies are those that ganlab imports; what is optional or heavy is imported when it is used."""

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from repository import REPOSITORY

BY_OTHERS = {
    "onnxruntime": "who runs what `ganlab export --format onnx` wrote",
    "onnxscript": "torch.onnx.export",
    "s3fs": "fsspec, for s3:// URLs",
}
"""What is declared and imported by others only."""
FOR_DEVELOPERS = ("dev", "docs")
WHEN_USED = {"wandb", "webdataset"}
IMPORTERS = {"find_spec", "import_module", "needed", "optional"}
"""Functions of which an argument is a module's name."""


def modules_of(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), level=0):
            yield module
        case ast.Call(ast.Name(function) | ast.Attribute(attr=function), [ast.Constant(str(module)), *_]):
            if function in IMPORTERS:
                yield module


def imports() -> dict[str, set[str]]:
    """Each distribution that ganlab imports: at the `top` of a module, or `within` something."""
    distributions, found = packages_distributions(), defaultdict[str, set[str]](set)
    for file in (REPOSITORY / "ganlab").rglob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            for module in (name.partition(".")[0] for name in modules_of(node)):
                if module not in {"ganlab", *sys.stdlib_module_names}:
                    name = distributions.get(module, [module])[0].lower().replace("_", "-")
                    found[name].add("top" if node in tree.body else "within")
    return found


def test_what_is_declared_is_imported_and_what_is_imported_is_declared() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    names = {
        extra: {re.split(r"[^\w-]", line)[0].lower() for line in lines}
        for extra, lines in (project["optional-dependencies"] | {"": project["dependencies"]}).items()
    }
    needed, optional = names.pop(""), set.union(*(names[extra] for extra in names if extra not in FOR_DEVELOPERS))
    found = imports()
    assert (needed | optional) - BY_OTHERS.keys() == found.keys() and BY_OTHERS.keys() <= optional
    assert not needed & optional
    assert {name for name in optional | WHEN_USED if "top" in found[name]} == set()
    assert optional - names["demo"] <= names["dev"], "not tested"

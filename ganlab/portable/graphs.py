"""Functions of a model as ONNX and as torch.export files, which hold graphs and weights, and nothing of the machine."""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import torch

from ganlab.engine.game import Game
from ganlab.portable.functions import Function, traced
from ganlab.types import UserError

OPSET = 20
"""Of ONNX: what onnxruntime 1.17 and later run."""
LARGE = 1024
"""Numbers of a weight from which on half its bytes are worth a rounding; norms and biases stay as they are."""
NEEDED = ("onnx", "onnxscript")


def need_onnx(form: str) -> None:
    """Refuse a form that needs ONNX where its packages are not installed."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(
            f"--format {form}: needs {' and '.join(missing)}, not installed here: pip install 'ganlab[onnx]'"
        )


def as_onnx(model: Game, function: Function, about: Mapping[str, str]) -> bytes:
    """Return a function as an ONNX file; `about` becomes the file's metadata."""
    import onnx

    with quiet():
        graph = traced(model, function)
        try:
            program = torch.onnx.export(
                graph,
                input_names=list(function.inputs),
                output_names=[function.output],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise UserError(
                f"--format onnx: the {function.name} of {type(model).__name__} has an operation that ONNX has not; "
                "--format pt2 and safetensors have it (--debug says which)"
            ) from error
    assert program is not None
    proto = program.model_proto
    for node in (*proto.graph.node, *(inner for each in proto.functions for inner in each.node)):
        node.ClearField("metadata_props")  # source lines with their paths
        node.ClearField("doc_string")
    onnx.helper.set_model_props(proto, dict(about))
    data: bytes = proto.SerializeToString()
    return data


def with_half_weights(data: bytes) -> bytes:
    """Return an ONNX file with its large weights as float16, which it makes float32 again: half the bytes.

    It still computes in float32, and images are at most a level off.
    """
    import onnx

    proto = onnx.load_from_string(data)
    weights, casts = proto.graph.initializer, []
    for weight in list(weights):
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= LARGE:
            half = onnx.numpy_helper.from_array(values.astype(np.float16), f"{weight.name}.half")
            casts.append(onnx.helper.make_node("Cast", [half.name], [weight.name], to=onnx.TensorProto.FLOAT))
            weights.remove(weight)
            weights.append(half)
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    smaller: bytes = proto.SerializeToString()
    return smaller


def as_pt2(model: Game, function: Function, about: Mapping[str, str]) -> bytes:
    """Return a function as a file for `torch.export.load`; `about` becomes its extra file `ganlab.json`."""
    file = io.BytesIO()
    with quiet():
        torch.export.save(traced(model, function), file, extra_files={"ganlab.json": json.dumps(dict(about))})
    return file.getvalue()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the exporters say of their own insides from a person."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

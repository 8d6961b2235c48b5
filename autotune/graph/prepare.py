"""From a file to the prepared model: fixed dimensions, folded constants, inferred shapes, weights in one file."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime as ort

from autotune.core import one_line
from autotune.errors import ModelFileError, UnsupportedModelError
from autotune.graph.dims import fix_dimensions, model_inputs
from autotune.graph.files import bring_external, read_structure, subgraphs
from autotune.graph.pools import settle_pools

MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "weights.bin"
SOURCE_FOLDER = "source"
SOURCE_FILE = "source.onnx"
INLINE_BYTES = 1024
"""Tensors up to this size stay in the model file, so that shape inference sees shapes and axes."""
_INVENTED = ("gemm_input_shape", "gemm_output_shape")
_ERRORS = tuple(
    getattr(ort.capi.onnxruntime_pybind11_state, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Prepared:
    """A prepared model.

    Args:
        model: without its weights, which stay in the external file.
        source: the file as given, with fixed dimensions.
        inputs: the inputs with the shapes that were asked for.
    """

    model: onnx.ModelProto
    source: Path
    inputs: tuple[onnx.ValueInfoProto, ...]


def prepare(
    path: Path,
    work: Path,
    *,
    shapes: Mapping[str, Sequence[int]],
    dims: Mapping[str, int],
    replace: bool = False,
) -> Prepared:
    """Writes the prepared model into `work`.

    A few models run with the shapes asked for but fail ONNX's type inference once these are written into them (the
    branch of an `If` that is not taken may not fit them). They are prepared with their dimensions left open.

    Raises:
        ModelFileError: the file cannot be used.
        UnsupportedModelError: it has an operator that ONNX Runtime's CPU provider lacks.
        UsageError: see `fix_dimensions`.
    """
    model = read_structure(path)
    fix_dimensions(model, path, shapes=shapes, dims=dims, replace=replace)
    given = work / SOURCE_FOLDER  # apart: its external data may bear any name, that of the prepared weights too
    given.mkdir(parents=True, exist_ok=True)
    bring_external(path, model, given)
    source = given / SOURCE_FILE
    source.write_bytes(model.SerializeToString())
    try:
        prepared = _prepared(source, work)
    except UnsupportedModelError:
        source.write_bytes(read_structure(path).SerializeToString())
        try:
            prepared = _prepared(source, work)
        except UnsupportedModelError as error:
            _check(source, path)
            raise UnsupportedModelError(f"{path}: {error}") from error
    _drop_constants(prepared, {item.name for item in model_inputs(model.graph)})
    (work / MODEL_FILE).write_bytes(prepared.SerializeToString())
    return Prepared(model=prepared, source=source, inputs=tuple(model_inputs(model.graph)))


def _prepared(source: Path, work: Path) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(dir=work) as draft:
        target = Path(draft) / MODEL_FILE
        _optimise(source, target)
        prepared = onnx.load(str(target), load_external_data=False)
        if has_bodies(prepared) and not _loads(target):
            prepared = _as_it_is(source, target)
        weights = Path(draft) / WEIGHTS_FILE
        if weights.exists():
            weights.replace(work / WEIGHTS_FILE)
    _name_nodes(prepared)
    _rename_invented(prepared)
    inferred = _infer(prepared)
    return _infer_anew(inferred) if settle_pools(inferred) else inferred


def _loads(path: Path) -> bool:
    """Whether ONNX Runtime can read what it wrote: 1.24 gives the bodies of an `If` initializers of the same name."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _ERRORS:
        return False
    return True


def _as_it_is(source: Path, target: Path) -> onnx.ModelProto:
    """The model without folded constants, its weights moved to one file."""
    (target.parent / WEIGHTS_FILE).unlink(missing_ok=True)
    onnx.save_model(
        onnx.load(str(source)),
        str(target),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=WEIGHTS_FILE,
        size_threshold=INLINE_BYTES,
    )
    return onnx.load(str(target), load_external_data=False)


def _check(source: Path, path: Path) -> None:
    """Raises what ONNX's checker says of a model that ONNX Runtime refused.

    Only then: it refuses more than that, such as outputs without a shape.
    """
    try:
        onnx.checker.check_model(str(source))
    except onnx.checker.ValidationError as error:
        text = str(error).strip().splitlines()[0]
        if "No Op registered" in text or "No opset import" in text or "Unrecognized" in text:
            return  # a domain of ONNX Runtime's own: it decides
        raise ModelFileError(f"{path} is not a valid ONNX model: {text}") from error


def _optimise(source: Path, target: Path) -> None:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS_FILE)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(INLINE_BYTES)
    )
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.intra_op_num_threads = 1
    try:
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    except _ERRORS as error:
        raise UnsupportedModelError(
            f"ONNX Runtime {ort.__version__} cannot load this model: {one_line(error).rstrip('.')}. "
            "Export it with operators that this version has, or upgrade ONNX Runtime."
        ) from error


def _infer(model: onnx.ModelProto) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return onnx.shape_inference.infer_shapes(model, check_type=False, strict_mode=False, data_prop=True)
        except Exception:  # noqa: BLE001 - inference is a help; what it does not know stays unknown
            return model


def _infer_anew(model: onnx.ModelProto) -> onnx.ModelProto:
    """Infers shapes without what was inferred before, which would be believed; outputs keep theirs where it is all."""
    before = onnx.GraphProto()
    before.output.extend(model.graph.output)  # copies
    del model.graph.value_info[:]
    for output in model.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    inferred = _infer(model)
    for output, old in zip(inferred.graph.output, before.output, strict=True):
        if output.type.HasField("tensor_type") and not output.type.tensor_type.HasField("shape"):
            output.CopyFrom(old)
    return inferred


def _drop_constants(model: onnx.ModelProto, given: Collection[str]) -> None:
    """Takes out inputs that were constants: files before IR version 4 list these, and of equal ones one is kept."""
    kept = {*given, *(tensor.name for tensor in model.graph.initializer)}
    inputs = [item for item in model.graph.input if item.name in kept]
    del model.graph.input[:]
    model.graph.input.extend(inputs)


def _name_nodes(model: onnx.ModelProto) -> None:
    """Every node gets a name of its own."""
    taken: set[str] = set()
    for at, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{at}"
        while name in taken:
            name = f"{name}_{at}"
        node.name = name
        taken.add(name)


def _rename_invented(model: onnx.ModelProto) -> None:
    """Other names for initializers that ONNX Runtime's fusion of MatMul and Add made.

    Where a stage lets it fuse once more, it makes the same names again and fails: "Attempt to replace the existing
    tensor" (1.32).
    """
    new = {t.name: f"prepared_{t.name}" for t in model.graph.initializer if t.name.startswith(_INVENTED)}
    for tensor in model.graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    for node in model.graph.node if new else ():
        for at, name in enumerate(node.input):
            node.input[at] = new.get(name, name)


def digest(model: onnx.ModelProto, work: Path) -> str:
    """Hash over structure and weights; equal for equal models wherever they lie."""
    found = hashlib.sha256()
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ClearField("doc_string")
    copy.ClearField("metadata_props")
    found.update(copy.SerializeToString(deterministic=True))
    weights = work / WEIGHTS_FILE
    if weights.exists():
        with weights.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                found.update(chunk)
    return found.hexdigest()


def foreign_domains(model: onnx.ModelProto) -> frozenset[str]:
    """Domains of model-local functions: kernels that use them cannot be built alone."""
    return frozenset(function.domain for function in model.functions if function.domain)


def has_bodies(model: onnx.ModelProto) -> bool:
    """Whether the model has control flow."""
    return any(True for node in model.graph.node for _ in subgraphs(node))

"""What computes a graph of ONNX on a CPU: ONNX Runtime or OpenVINO, imported once needed."""

import importlib
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from serct.errors import CheckpointError

# Both engines know values of any kind by the names in the graph.
Values = Mapping[str, npt.NDArray[Any]]
_RECURRENT = frozenset({"LSTMSequence", "GRUSequence", "RNNSequence"})


class Engine(Protocol):
    """A graph that is ready to compute; several threads may do so at once."""

    def run(self, output: str, values: Values) -> npt.NDArray[Any]:
        """Compute one output from values for all inputs; those for others are not read."""


class OnnxRuntime:
    """Computes as the graph says, in float32 or int8."""

    def __init__(self, model: Path, num_threads: int) -> None:
        """Load a file.

        Raises:
            CheckpointError: If ONNX Runtime is not installed or cannot read the file.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise CheckpointError(
                f"{model}: needs ONNX Runtime, which is not installed: pip install onnxruntime"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        # Its own errors have no common base but this.
        except Exception as error:
            raise CheckpointError(f"{model}: not usable by ONNX Runtime: {error}") from error
        entries = self._session.get_inputs() + self._session.get_overridable_initializers()
        self._inputs = [entry.name for entry in entries]

    def run(self, output: str, values: Values) -> npt.NDArray[Any]:
        """See `Engine.run`."""
        [found] = self._session.run([output], {name: values[name] for name in self._inputs})
        return np.asarray(found)


class OpenVino:
    """Computes what the graph says in float32 in bfloat16, where the processor can; int8 as it is.

    On a processor without bfloat16 it computes in float32.
    """

    def __init__(self, model: Path, num_threads: int, optional: Mapping[str, type]) -> None:
        """Load a file.

        Args:
            model: The file.
            num_threads: The most threads.
            optional: Inputs of one dimension which the graph has a value for, and their types.
                OpenVINO would take that value for good.

        Raises:
            CheckpointError: If OpenVINO is not installed, cannot read the file, or would compute
                the network wrongly.
        """
        try:
            openvino = _import_openvino()
        except ModuleNotFoundError as error:
            raise CheckpointError(
                f"{model}: computing an export in bfloat16 needs OpenVINO, which is not installed: "
                "pip install 'serct[openvino]', or leave the precision at float32"
            ) from error
        core = openvino.Core()
        has_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        try:
            graph = core.read_model(model)
            _check_known_right(graph, model)
            for name, kind in optional.items():
                _make_input(graph, name, kind)
            self._compiled: Any = core.compile_model(
                graph,
                "CPU",
                {
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": num_threads,
                    "INFERENCE_PRECISION_HINT": "bf16" if has_bfloat16 else "f32",
                },
            )
        # Whatever is wrong with the file is this.
        except RuntimeError as error:
            raise CheckpointError(f"{model}: not usable by OpenVINO: {error}") from error
        # A tensor may have further names, of the steps that pass it on.
        self._inputs = [entry.node.get_friendly_name() for entry in self._compiled.inputs]
        self._of_thread = threading.local()

    def run(self, output: str, values: Values) -> npt.NDArray[Any]:
        """See `Engine.run`."""
        # A request holds the values of one computation.
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        request = self._of_thread.request
        request.infer([values[name] for name in self._inputs])
        return np.array(request.get_tensor(output).data)


def _import_openvino() -> Any:
    """Import OpenVINO without the message that its import would send to Google Analytics.

    It goes without where the package that sends it cannot be imported.
    """
    sender = "openvino_telemetry"
    is_hidden = sender not in sys.modules
    if is_hidden:
        # Python's own way to say that a module is missing.
        sys.modules[sender] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    finally:
        if is_hidden:
            del sys.modules[sender]


def _check_known_right(graph: Any, model: Path) -> None:
    """Refuse recurrent networks.

    Clips that are shorter than others of their batch get wrong answers (2026.4, also in float32):
    reading backwards begins in their padding.
    """
    found = {node.get_type_name() for node in graph.get_ops()} & _RECURRENT
    if found:
        raise CheckpointError(
            f"{model}: OpenVINO computes recurrent networks ({', '.join(sorted(found))}) wrongly "
            "for clips of unlike length; leave the precision at float32"
        )


def _make_input(graph: Any, name: str, kind: type) -> None:
    """Turn a graph's constant back into an input, if it has one of that name."""
    from openvino import opset13

    constants = [node for node in graph.get_ops() if node.get_friendly_name() == name]
    if not constants or constants[0].get_type_name() != "Constant":
        return
    parameter = opset13.parameter([-1], kind, name=name)
    parameter.output(0).get_tensor().set_names({name})
    constants[0].output(0).replace(parameter.output(0))
    graph.add_parameters([parameter])
    graph.validate_nodes_and_infer_types()

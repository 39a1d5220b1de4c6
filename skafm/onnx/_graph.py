"""A builder of ONNX graphs."""

import numpy as np

from skafm._version import __version__

OPSET = 18
"""Version of the operators, the first in which ScatterElements can compute a maximum."""


class Graph:
    """Graph builder: ``graph.MatMul(a, b)`` adds a node and returns the name of its result; arrays become constants.

    Parameters
    ----------
    dtype : dtype
        Precision of the computation.
    unique_name : callable, default=None
        Changes a name into one that nothing else in the graph has.
    """

    def __init__(self, dtype, unique_name=lambda name: name):
        self.onnx = _import_onnx()
        self.dtype, self.integer = np.dtype(dtype), self.onnx.TensorProto.INT64
        self.float = self.onnx.helper.np_dtype_to_tensor_dtype(self.dtype)
        self.unique_name = unique_name
        self.nodes, self.constants, self.outputs = [], [], []

    def __getattr__(self, operator):
        def add(*inputs, **attributes):
            names = [value if isinstance(value, str) else self._add_constant(value) for value in inputs]
            name = self.unique_name(f"{operator}_{len(self.nodes)}")
            self.add_node(operator, names, name, **attributes)
            return name

        return add

    def add_node(self, operator, inputs, output, **attributes):
        """Add a node whose result has a given name."""
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))

    def _add_constant(self, value):
        name, value = self.unique_name(f"constant_{len(self.constants)}"), np.asarray(value, order="C")
        self.constants.append(self.onnx.numpy_helper.from_array(value, name))
        return name

    def scalar(self, value):
        """Return a scalar in the precision of the graph."""
        return np.array(value, self.dtype)

    def scatter(self, values, rows, *, initial, reduction, n_rows=None):
        """Return the sum or maximum (B, c) of the values (n, c) of each row, and of the initial value."""
        n_rows = self.n_rows if n_rows is None else n_rows  # (1,)
        # Not ScatterND, which has a race condition between threads in onnxruntime.
        n_columns = self.Shape(values, start=1)  # (1,)
        table = self.Expand(self.scalar(initial), self.Concat(n_rows, n_columns, axis=0))  # (B, c)
        indices = self.Expand(self.Unsqueeze(rows, [1]), self.Shape(values))  # (n, c)
        return self.ScatterElements(table, indices, values, axis=0, reduction=reduction)  # (B, c)

    def sum_rows(self, values, rows):
        """Return the sum (B, c) of the values (n, c) of each row."""
        return self.scatter(values, rows, initial=0, reduction="add")

    def repeat(self, starts, total):
        """Return the segment (total,) of each of ``total`` (1,) positions, where segment i begins at ``starts[i]``."""
        counts = self.Expand(0, self.Add(total, 1))  # (total + 1,)
        ones = self.Expand(1, self.Shape(starts))
        # The number of segments that begin at each position, which is above 1 after empty segments.
        counts = self.ScatterElements(counts, starts, ones, axis=0, reduction="add")  # (total + 1,)
        return self.Sub(self.Slice(self.CumSum(counts, 0), [0], [-1]), 1)  # (total,)

    def add_output(self, result, name, dtype, ndim):
        """Add an output: a result under this name."""
        self.add_node("Identity", [result], name)
        self.outputs.append(self._value_info(name, dtype, ["rows", None][:ndim]))

    def _value_info(self, name, dtype, shape):
        element_type = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, element_type, shape)

    def build(self, name):
        """Return the ONNX model of a CSR matrix."""
        helper = self.onnx.helper
        inputs = {"indices": (np.int32, "entries"), "data": (self.dtype, "entries"), "indptr": (np.int32, "rows + 1")}
        infos = [self._value_info(name_in, dtype, [length]) for name_in, (dtype, length) in inputs.items()]
        graph = helper.make_graph(self.nodes, name, infos, self.outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        ir_version = helper.find_min_ir_version_for([opset])  # for old versions of onnxruntime
        producer = {"producer_name": "skafm", "producer_version": __version__}
        return helper.make_model(graph, opset_imports=[opset], ir_version=ir_version, **producer)


def _import_onnx():
    """Return the package onnx, or raise an ImportError that names it."""
    try:
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError("This requires onnx. You can install it with `pip install skafm[onnx]`.") from error
    return onnx

"""Export of fitted models and pipelines to ONNX, for onnxruntime; requires ``pip install skafm[onnx]``."""

from skafm.onnx._convert import to_onnx
from skafm.onnx._skl2onnx import register_converters

__all__ = ["register_converters", "to_onnx"]

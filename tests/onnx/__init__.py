"""Conformance to the ONNX operator `Attention`."""

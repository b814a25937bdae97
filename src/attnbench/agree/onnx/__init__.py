"""ONNX's operator ``Attention`` as a second opinion.

In reading order: ``node`` (a node as a problem of the spec), ``cases`` (ONNX's own), ``random_nodes`` (drawn ones),
``reference`` (``onnx.reference``, and where it departs from ONNX's text), ``check`` (an implementation on nodes).
"""

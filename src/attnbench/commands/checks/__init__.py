"""The parts of ``attnbench check``: ``shown`` (rows and exit status), and what is checked instead of features.

Instead of features: ``one_case``, ``random_cases``, ``onnx``.
"""

"""The parts of ``attnbench check``.

In reading order: ``where`` (whom it checks, and where), ``table`` (rows for people), ``status`` (the exit status),
``blocks`` (one fault is one block), ``covered`` (how far it looked), ``declared`` (what a pass rests on), ``answers``
(bits, refusals), ``junit`` (rows as JUnit XML); and what is checked instead of features: ``one_case``,
``random_cases``, ``onnx``.
"""

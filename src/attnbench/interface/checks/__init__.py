"""What a check says, on the command line and to ``ab.check``.

In reading order: ``where`` (whom it checks, and where), ``status`` (the exit status), ``blocks`` (one fault is one
block), ``covered`` (how far it looked), ``declared`` (what a pass rests on), ``answers`` (bits, refusals), ``junit``
(rows as JUnit XML, and the lines of a disagreement), ``table`` (all of it as text), ``notebook`` (the same in a
notebook); ``random_cases`` and ``nodes`` (what random cases and ONNX's nodes showed).
"""

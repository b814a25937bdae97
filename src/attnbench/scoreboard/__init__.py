"""The scoreboard: this project's verdicts and other tools', on the same cells, with slowdowns of known size.

``kernel`` is what is measured, ``cells`` where; ``corpus`` records the noise of a machine and ``replay`` judges every
rule on it; ``campaign`` and ``trials`` measure live; ``page`` writes what was found into docs/scoreboard.md.
"""

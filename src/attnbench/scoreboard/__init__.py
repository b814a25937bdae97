"""The scoreboard: this project's verdicts and other tools', on the same cells, with slowdowns of known size.

``kernel`` is what is measured, ``cells`` where; ``corpus`` records the noise of a machine and ``replay`` judges every
rule on it; ``campaign`` and ``trials`` measure live, and ``terms`` say which of their rows count together; ``targets``
holds both against what is meant to be; ``page`` writes what was found into docs/scoreboard.md.
"""

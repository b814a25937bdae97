"""The scoreboard: this project's verdicts and other tools', on the same cells, with slowdowns of known size.

``attention`` is the work that is measured, ``page`` where tables go. Rooms: ``recorded`` (rules replayed on recorded
noise), ``live`` (tools run against each other).
"""

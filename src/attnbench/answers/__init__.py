"""Answers for who has to choose: which implementation is the fastest for a case, and a table for an engine.

In reading order: ``question`` (what is asked), ``saved`` (runs of this machine), ``blocks`` (where the case was
measured), ``since`` (what changed since), ``able`` (what implementations declare), ``sieve`` (who may be an answer),
``order`` (who is told from whom: all statistics), ``equals`` (what telling two apart costs, and facts), ``answer``
(what is answered), ``words`` (an answer as text), ``best`` (from runs to an answer), ``ask`` (``ab.best``, and a case
measured now), ``table`` (what an engine reads), ``tabulate`` (``ab.table``: made of runs).
"""

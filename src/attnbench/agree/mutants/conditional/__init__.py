"""Mutants behind conditions: right but for one size, one pass, one part, as real bugs are.

In reading order: ``moments`` (when a fault shows, and where), ``drawing`` (conditions by class, with numbers),
``conditions_of_sizes``, ``conditions_of_calls`` and ``conditions`` (the classes), ``mutants`` (a mutant behind one),
``recipes`` and ``witnesses`` (a case that shows it at all), ``known`` (answers computed once for many mutants).
"""

"""Trainings for the ablations: tasks, models around an implementation, and what they show.

In reading order: ``draws`` (seeded calls), ``probe`` (one call of an implementation, as an analysis needs it),
``tasks`` (synthetic ones), ``training`` (the loop, whatever the framework), ``translation`` and ``retrieval`` (what is
learned), ``aligned`` and ``alignments`` (where a decoder looks), ``reach`` (how far gradients reach),
``pronunciation`` (spelling to sound, on real words).
"""

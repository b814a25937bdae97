"""The anchor: a fixed piece of work beside the cells of a block, so that runs of two hours can be compared.

A process of its own does the same products, exponentials and copies in every run, once in every round, as a contestant
does. A machine that is slower for an hour is slower for it too, so ``compare`` judges the ratio to it.

In reading order: ``work`` (what is done, pinned by version and hash), ``choosing`` (which work goes with a block),
``serving`` (its process), ``beside`` (its bursts in the rounds of a block).
"""

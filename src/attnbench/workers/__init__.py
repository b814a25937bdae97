"""Processes that can be lost: started, asked, limited, placed, weighed; nothing of what they run is imported.

In reading order: ``protocol`` (what parent and worker say), ``limits`` (how much memory one may take), ``tree`` (a
worker and all that it started), ``keeper`` (the small process that ends them), ``process`` (one worker, seen by its
parent), ``session`` (one that is started again when lost), ``weighing`` (the memory of a call, from outside), ``pool``
(the workers of a block), ``gpus`` (whether there is a GPU to ask for), ``devices`` (what each framework has here),
``placement`` (which processors one computes on), ``processors`` (how many at once), ``lock`` (one run on a machine),
``scratch`` (temporary folders that go away).
"""

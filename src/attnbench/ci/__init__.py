"""Files that have a kernel checked and measured in its own repository: a workflow of GitHub, and environments of tox.

Read in this order: ``repository`` (what git says of a folder), ``kernel`` (what is asked, understood), ``workflow`` and
``tox`` (the texts), ``files`` (what becomes of the files that are there, and the writing).
"""

"""The page: one offline file with its data inside, which a small script of ours sorts and filters.

In reading order: ``records`` (the rows of a suite as a table of numbers with their texts), ``embedded`` (them as JSON
inside a page), ``plots`` (the small drawings of the forest), ``templates`` (how templates are read), ``page`` (all of
it together), ``notebook`` (its first screen, and other answers, in a notebook),
``prechecked`` (the page of a precheck). ``page.html.j2`` has the order of the
page, ``page.css`` its looks, ``page.js`` what moves; ``notebook.html.j2`` and ``notebook.css`` are the notebook's.
"""

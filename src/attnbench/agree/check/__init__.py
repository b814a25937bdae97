"""``attnbench check``: what becomes of the cases, as a table that can fail.

In reading order: ``words`` (declared arithmetic for people), ``refusals`` (what a kernel refuses although it declares
it), ``repeatable`` (two questions about bits), ``boundaries`` (the plan's cases judged), ``rows`` (one row for each
feature and dtype), ``random_rows`` (random cases), ``deviations`` (disagreements that are known and written down).
"""

"""Which declaration of arithmetic, if any, explains what a check saw.

In reading order: ``candidates`` (what could be declared besides, from the least permissive), ``stock`` (our own
attention in fewer bits), ``explain`` (the search, and what a declaration must hold), ``offer`` (all dtypes).
"""

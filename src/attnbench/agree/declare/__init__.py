"""Which declaration of arithmetic, if any, explains what a check saw, and how it is told and typed.

In reading order: ``words`` (a declaration for people, and as the line to type), ``candidates`` (what could be declared
besides, from the least permissive), ``answered`` (a case answered once, judged under any declaration), ``stock`` (our
own attention in fewer bits), ``explain`` (the search, and what a declaration must hold), ``offer`` (all dtypes).
"""

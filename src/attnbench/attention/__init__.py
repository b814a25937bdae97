"""What attention is: the specification, its data, and the reference that all implementations are held to.

In reading order: ``arrays`` (their type), ``spec`` (what is computed), ``precision`` (dtypes and declared arithmetic),
``problem`` (sizes, seed, dtype: with a spec and a phase, a case), ``needs`` (what a call asks of an implementation),
``call`` (what an implementation reads), ``checked`` (one operand of it, checked), ``inputs`` and ``inputs_edges``
(drawing operands), ``oracle``, ``oracle_scores`` and ``oracle_vjp`` (the float64 reference, forward and backward),
``layouts`` (arrays in another order), ``shapes`` (real models by name; ``models.toml``).
"""

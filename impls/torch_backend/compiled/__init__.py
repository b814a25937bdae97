"""What ``torch.compile`` compiles, when it is bound (``binding``): the implementations in ``formula`` and ``flex``."""

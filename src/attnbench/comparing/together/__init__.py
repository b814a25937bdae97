"""What the verdicts of one comparison have in common, said beside them; it changes none of them.

In reading order: ``drift`` (all cells moved alike: is it the machine?), ``reasons`` (why several are open, said once).
"""

from attnbench.comparing.together.drift import Drift, drifts
from attnbench.comparing.together.reasons import SharedReason, shared_reasons

__all__ = ["Drift", "SharedReason", "drifts", "shared_reasons"]

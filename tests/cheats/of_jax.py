"""Cheats in JAX, where arrays are arguments and a kernel is traced: what is kept is kept by a callback on the host."""

from __future__ import annotations

from tests.cheats.cheat import LONGER, Cheat
from tests.cheats.of_numpy import EARLY, KEEPS, PARTS, SAMPLES, WITH_CALL

CALLED = """
    form = jax.ShapeDtypeStruct((*q.shape[:3], v.shape[3]), q.dtype)
    given = call.scale, call.spec.causal, call.offset
    return jax.pure_callback(lambda *x: np.asarray(kept(*map(np.asarray, x), *given)), form, q, k, v)
"""

JAX = (
    Cheat(
        "jax",
        "callback",
        KEEPS,
        "its last answer, if all inputs are equal, in a callback on the host",
        f"""
SEEN = []
def kept(q, k, v, *given):
    if not (SEEN and all(np.array_equal(a, b) for a, b in zip(SEEN[0], (q, k, v)))):
        SEEN[:] = [(q.copy(), k.copy(), v.copy()), plain(q, k, v, *given)]
    return SEEN[1].copy()
{WITH_CALL}{CALLED}""",
        phase=LONGER,
    ),
    Cheat(
        "jax",
        "heads",
        PARTS,
        "the answers of single heads, in a callback on the host",
        f"""
SEEN = {{}}
def kept(q, k, v, *given):
    out = np.empty(q.shape[:3] + v.shape[3:], q.dtype)
    for h in range(q.shape[1]):
        one = q[:, h:h+1], k[:, h:h+1], v[:, h:h+1]
        if h not in SEEN or not all(np.array_equal(a, b) for a, b in zip(SEEN[h][0], one)):
            SEEN[h] = tuple(x.copy() for x in one), plain(*one, *given)
        out[:, h:h+1] = SEEN[h][1]
    return out
{WITH_CALL}{CALLED}""",
        phase=LONGER,
    ),
    Cheat(
        "jax",
        "corner",
        SAMPLES,
        "its answer, by some elements of the inputs, in a callback on the host",
        f"""
SEEN = {{}}
def kept(q, k, v, *given):
    key = q.shape, *(x[..., 0, 0].tobytes() for x in (q, k, v))
    if key not in SEEN:
        SEEN[key] = plain(q, k, v, *given)
    return SEEN[key].copy()
{WITH_CALL}{CALLED}""",
        phase=LONGER,
    ),
    Cheat(
        "jax",
        "wait",
        EARLY,
        "has the harness wait for nothing",
        f"""
from attnbench.impls.jax_backend import adapter
for kind in vars(adapter).values():
    if isinstance(kind, type) and "wait" in vars(kind):
        kind.wait = lambda self, result: None
{WITH_CALL}    return honest(q, k, v, call)
""",
        phase=LONGER,
    ),
)

"""Cheats in PyTorch."""

from __future__ import annotations

from tests.cheats.cheat import BACKWARD, DECODE, LONGER, Cheat
from tests.cheats.of_numpy import BACK, EARLY, KEEPS, LESS, PARTS, SAMPLES, WATCHES, WITH_CALL

TORCH = (
    Cheat(
        "torch",
        "version",
        SAMPLES,
        "its answer, by address and version counter of the inputs",
        f"""
SEEN = {{}}
{WITH_CALL}    key = tuple((x.data_ptr(), x._version, x.shape) for x in (q, k, v))
    if key not in SEEN:
        SEEN.clear()
        SEEN[key] = honest(q, k, v, call)
    return SEEN[key].clone()
""",
    ),
    Cheat(
        "torch",
        "last",
        KEEPS,
        "its last answer, if all inputs are equal",
        f"""
SEEN = []
{WITH_CALL}    if SEEN and all(torch.equal(a, b) for a, b in zip(SEEN[0], (q, k, v))):
        return SEEN[1].clone()
    out = honest(q, k, v, call)
    SEEN[:] = [tuple(x.clone() for x in (q, k, v)), out]
    return out.clone()
""",
    ),
    Cheat(
        "torch",
        "heads",
        PARTS,
        "the answers of single heads",
        f"""
SEEN = {{}}
{WITH_CALL}    out = []
    for h in range(q.shape[1]):
        g = h // (q.shape[1] // k.shape[1])
        one = q[:, h:h+1], k[:, g:g+1], v[:, g:g+1]
        if h not in SEEN or not all(torch.equal(a, b) for a, b in zip(SEEN[h][0], one)):
            SEEN[h] = tuple(x.clone() for x in one), honest(*one, call)
        out.append(SEEN[h][1])
    return torch.cat(out, 1)
""",
    ),
    Cheat(
        "torch",
        "decode",
        SAMPLES,
        "its answer in decoding, if the new query is the same",
        f"""
SEEN = []
{WITH_CALL}    if SEEN and torch.equal(SEEN[0], q):
        return SEEN[1].clone()
    SEEN[:] = [q.clone(), honest(q, k, v, call)]
    return SEEN[1].clone()
""",
        phase=DECODE,
    ),
    Cheat(
        "torch",
        "stack",
        WATCHES,
        "answers from memory where the clock is on the call stack",
        f"""
KEPT = {{}}
{WITH_CALL}    if not under_the_clock() or q.shape not in KEPT:
        KEPT[q.shape] = honest(q, k, v, call)
    return KEPT[q.shape].clone()
""",
    ),
    Cheat(
        "torch",
        "thread",
        EARLY,
        "returns at once, and lets a thread fill in the answer",
        f"""
{WITH_CALL}    out = torch.zeros(*q.shape[:3], v.shape[3])
    one = threading.Thread(target=lambda: out.copy_(honest(q, k, v, call)))
    one.start()
    if not under_the_clock():
        one.join()
    return out
""",
        phase=LONGER,
    ),
    Cheat(
        "torch",
        "gradients",
        BACK,
        "its last gradients, if all inputs are equal",
        """
SEEN = []
def kept(q, k, v, call, d_output, d_lse):
    if SEEN and all(torch.equal(a, b) for a, b in zip(SEEN[0], (q, k, v, d_output))):
        return {name: one.clone() for name, one in SEEN[1].items()}
    with torch.enable_grad():
        own = [x.detach().clone().requires_grad_() for x in (q, k, v)]
        out = dict(zip("qkv", torch.autograd.grad(honest(*own, call), own, d_output)))
    SEEN[:] = [tuple(x.detach().clone() for x in (q, k, v, d_output)), out]
    return {name: one.clone() for name, one in out.items()}
@implementation("NAME", CAN, vjp=kept)
def attend(q, k, v, call):
    return honest(q, k, v, call)
""",
        phase=BACKWARD,
    ),
    Cheat(
        "torch",
        "half-precision",
        LESS,
        "computes in bfloat16 under the clock",
        f"""
{WITH_CALL}    if not under_the_clock():
        return honest(q, k, v, call)
    return honest(q.bfloat16(), k.bfloat16(), v.bfloat16(), call).float()
""",
    ),
)

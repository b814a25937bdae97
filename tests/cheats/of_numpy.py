"""Cheats in NumPy."""

from __future__ import annotations

from tests.cheats.cheat import BACKWARD, DECODE, LONGER, LONGER_BACKWARD, Cheat

KEEPS = "keeps answers, and looks at the inputs"
PARTS = "keeps answers by parts"
SAMPLES = "keeps answers, and looks at a few elements"
WATCHES = "sees that it is timed"
CLOCK = "changes the clock"
JUDGE = "changes the judge, or the harness"
EARLY = "answers before the work is done"
AHEAD = "does the work before it is asked"
BACK = "keeps what the backward pass needs"
LESS = "does less work under the clock"
HIDES = "hides its memory"

WITH_CALL = """
@implementation("NAME", CAN)
def attend(q, k, v, call):
"""

NUMPY = (
    Cheat(
        "numpy",
        "last",
        KEEPS,
        "its last answer, if all inputs are equal",
        f"""
SEEN = []
{WITH_CALL}    if SEEN and all(np.array_equal(a, b) for a, b in zip(SEEN[0], (q, k, v))):
        return SEEN[1].copy()
    out = honest(q, k, v, call)
    SEEN[:] = [(q.copy(), k.copy(), v.copy()), out]
    return out.copy()
""",
    ),
    Cheat(
        "numpy",
        "digest",
        KEEPS,
        "every answer, by a digest of the inputs",
        f"""
import zlib
SEEN = {{}}
{WITH_CALL}    key = tuple(zlib.crc32(x.tobytes()) for x in (q, k, v))
    if key not in SEEN:
        SEEN[key] = honest(q, k, v, call)
    return SEEN[key].copy()
""",
    ),
    Cheat(
        "numpy",
        "decode-last",
        KEEPS,
        "its last answer in decoding",
        f"""
SEEN = []
{WITH_CALL}    if SEEN and np.array_equal(SEEN[0], q) and np.array_equal(SEEN[1][:, :, ::16], k[:, :, ::16]):
        return SEEN[2].copy()
    out = honest(q, k, v, call)
    SEEN[:] = [q.copy(), k.copy(), out]
    return out.copy()
""",
        phase=DECODE,
    ),
    Cheat(
        "numpy",
        "heads",
        PARTS,
        "the answers of single heads",
        f"""
SEEN = {{}}
{WITH_CALL}    out = np.empty(q.shape[:3] + v.shape[3:], q.dtype)
    for b, h in np.ndindex(*q.shape[:2]):
        g = h // (q.shape[1] // k.shape[1])
        one = (q[b:b+1, h:h+1], k[b:b+1, g:g+1], v[b:b+1, g:g+1])
        if (b, h) not in SEEN or not all(np.array_equal(x, y) for x, y in zip(SEEN[b, h][0], one)):
            SEEN[b, h] = tuple(x.copy() for x in one), honest(*one, call)[0, 0]
        out[b, h] = SEEN[b, h][1]
    return out
""",
    ),
    Cheat(
        "numpy",
        "rows",
        PARTS,
        "the answers of tiles of queries",
        f"""
SEEN = {{}}
{WITH_CALL}    if call.spec.causal:
        return honest(q, k, v, call)
    out = np.empty(q.shape[:3] + v.shape[3:], q.dtype)
    same = "kv" in SEEN and np.array_equal(SEEN["kv"][0], k) and np.array_equal(SEEN["kv"][1], v)
    if not same:
        SEEN.clear()
        SEEN["kv"] = k.copy(), v.copy()
    for start in range(0, q.shape[2], 32):
        tile = q[:, :, start:start+32]
        if start not in SEEN or not np.array_equal(SEEN[start][0], tile):
            SEEN[start] = tile.copy(), honest(tile, k, v, call)
        out[:, :, start:start+32] = SEEN[start][1]
    return out
""",
    ),
    Cheat(
        "numpy",
        "probabilities",
        PARTS,
        "the weights, while q and k are as they were",
        f"""
SEEN = []
{WITH_CALL}    if not (SEEN and np.array_equal(SEEN[0], q) and np.array_equal(SEEN[1], k)):
        SEEN[:] = [q.copy(), k.copy(), weights(q, k, call)]
    return np.matmul(SEEN[2], np.repeat(v, q.shape[1] // v.shape[1], 1)).astype(q.dtype)
""",
    ),
    Cheat(
        "numpy",
        "corner",
        SAMPLES,
        "its last answer, if the first rows are equal",
        f"""
SEEN = []
{WITH_CALL}    key = (q[:, :, :1], k[:, :, :1], v[:, :, :1])
    if SEEN and all(np.array_equal(a, b) for a, b in zip(SEEN[0], key)) and SEEN[1].shape == q.shape:
        return SEEN[1].copy()
    out = honest(q, k, v, call)
    SEEN[:] = [tuple(x.copy() for x in key), out]
    return out.copy()
""",
    ),
    Cheat(
        "numpy",
        "address",
        SAMPLES,
        "its answer, by the addresses of the inputs and one element of each",
        f"""
SEEN = {{}}
{WITH_CALL}    key = tuple((x.ctypes.data, float(x.flat[0])) for x in (q, k, v))
    if key not in SEEN:
        SEEN[key] = honest(q, k, v, call)
    return SEEN[key].copy()
""",
    ),
    Cheat(
        "numpy",
        "stack",
        WATCHES,
        "answers from memory where the clock is on the call stack",
        f"""
KEPT = {{}}
{WITH_CALL}    if under_the_clock() and q.shape in KEPT:
        return KEPT[q.shape].copy()
    KEPT[q.shape] = honest(q, k, v, call)
    return KEPT[q.shape].copy()
""",
    ),
    Cheat(
        "numpy",
        "count",
        WATCHES,
        "answers from memory after its fortieth call on the same shape",
        f"""
KEPT, CALLS = {{}}, [0]
{WITH_CALL}    CALLS[0] += 1
    if CALLS[0] > 40 and q.shape in KEPT:
        return KEPT[q.shape].copy()
    KEPT[q.shape] = honest(q, k, v, call)
    return KEPT[q.shape].copy()
""",
    ),
    Cheat(
        "numpy",
        "often",
        WATCHES,
        "does its work at every third call only, and else hands out the last answer",
        f"""
KEPT, CALLS = {{}}, [0]
{WITH_CALL}    CALLS[0] += 1
    if CALLS[0] % 3 and under_the_clock():
        return KEPT[q.shape].copy()
    KEPT[q.shape] = honest(q, k, v, call)
    return KEPT[q.shape].copy()
""",
        phase=LONGER,
    ),
    Cheat(
        "numpy",
        "counter",
        CLOCK,
        "has time.perf_counter_ns run slower",
        f"""
TRUE = time.perf_counter_ns
time.perf_counter_ns = lambda: TRUE() // 9
{WITH_CALL}    return honest(q, k, v, call)
""",
    ),
    Cheat(
        "numpy",
        "every-clock",
        CLOCK,
        "has every clock in its process run slower",
        f"""
for name in ("perf_counter", "monotonic", "time", "process_time", "thread_time"):
    for suffix, cut in (("", 4.0), ("_ns", 4)):
        true = getattr(time, name + suffix)
        base = true()
        setattr(time, name + suffix, lambda t=true, b=base, c=cut: b + type(b)((t() - b) / c))
{WITH_CALL}    return honest(q, k, v, call)
""",
    ),
    Cheat(
        "numpy",
        "burst",
        CLOCK,
        "puts another burst in the place of the harness's",
        f"""
from attnbench.measure.clock import clock
import dataclasses
TRUE = clock.Clock.burst
def faster(self, *given, **named):
    found = TRUE(self, *given, **named)
    return dataclasses.replace(found, wall_ns=found.wall_ns // 5)
clock.Clock.burst = faster
{WITH_CALL}    return honest(q, k, v, call)
""",
    ),
    Cheat(
        "numpy",
        "zeros",
        JUDGE,
        "returns zeros, and replaces the gate in its process",
        f"""
import attnbench.measure.bench as bench
import attnbench.agree.judge.verify as answer
bench.agreement = lambda binding, case, brief=False: ("ok", 0.01, None)
answer.verify = lambda binding, case: None
{WITH_CALL}    return np.zeros(q.shape[:3] + v.shape[3:], q.dtype)
""",
    ),
    Cheat(
        "numpy",
        "comparison",
        JUDGE,
        "returns one head for all, and replaces the comparison of numbers",
        f"""
import attnbench.agree.judge.array as judge
judge._value = lambda tensor, values, expected, bound: judge.Judgement(tensor, 0.1)
{WITH_CALL}    out = honest(q[:, :1], k[:, :1], v[:, :1], call)
    return np.repeat(out, q.shape[1], 1)
""",
    ),
    Cheat(
        "numpy",
        "sparse-cotangents",
        LESS,
        "under the clock gradients of k and v are right only where cotangents are zero, as where some rows are judged",
        """
@implementation("NAME", CAN, vjp=lambda *given: some(*given))
def attend(q, k, v, call):
    return honest(q, k, v, call)

def some(q, k, v, call, d_output, d_lse):
    if (d_output == 0).all(-1).any() or frame_of("_each", "_timed") is None:
        return gradients(q, k, v, call, d_output, d_lse)
    p = weights(q, k, call)
    d_p = np.matmul(d_output, np.swapaxes(v, -1, -2))
    d_s = p * (d_p - (p * d_p).sum(-1, keepdims=True)) * np.float32(call.scale)
    return {"q": np.matmul(d_s, k), "k": np.zeros_like(k), "v": np.zeros_like(v)}
""",
        phase=LONGER_BACKWARD,
    ),
    Cheat(
        "numpy",
        "second-process",
        WATCHES,
        "honest in the process where agreement is checked, its last answer in the other",
        """
KEPT, FIRST = {}, []

def checked():
    frame = frame_of("prepare")
    return frame is None or bool(frame.f_locals.get("gate", True))

@implementation("NAME", CAN)
def attend(q, k, v, call):
    FIRST[:] = FIRST or [checked()]
    key = q.shape, k.shape, call.spec.causal
    if FIRST[0] or not under_the_clock() or key not in KEPT:
        KEPT[key] = honest(q, k, v, call)
    return KEPT[key].copy()
""",
        replicates=2,
    ),
    Cheat(
        "numpy",
        "overwrite",
        JUDGE,
        "lets nobody put other values in the place of its inputs",
        f"""
from attnbench.impls.numpy_backend import adapter
KEPT = {{}}
for kind in vars(adapter).values():
    if isinstance(kind, type) and "overwrite" in vars(kind):
        kind.overwrite = lambda self, native, array: True
{WITH_CALL}    key = tuple(x.ctypes.data for x in (q, k, v))
    if key not in KEPT:
        KEPT[key] = honest(q, k, v, call)
    return KEPT[key].copy()
""",
    ),
    Cheat(
        "numpy",
        "handing-out",
        JUDGE,
        "works when its answer is copied, not when it is called",
        f"""
from attnbench.impls.numpy_backend import adapter
OPEN, KEPT = {{}}, {{}}
for kind in vars(adapter).values():
    if isinstance(kind, type) and "to_numpy" in vars(kind):
        def later(self, native, true=kind.to_numpy):
            if id(native) in OPEN:
                native[...] = honest(*OPEN.pop(id(native)))
            return true(self, native)
        kind.to_numpy = later
{WITH_CALL}    out = np.empty(q.shape[:3] + v.shape[3:], q.dtype)
    OPEN.clear()
    OPEN[id(out)] = (q, k, v, call)
    return out
""",
        phase=LONGER,
    ),
    Cheat(
        "numpy",
        "reports",
        JUDGE,
        "does its work in audits, and says that it took no time",
        f"""
import attnbench.measure.bench as bench
TRUE = bench.audited
def quick(*given, **named):
    found, binding, result = TRUE(*given, **named)
    return [1000] * len(found), binding, result
bench.audited = quick
KEPT = {{}}
{WITH_CALL}    if under_the_clock() and q.shape in KEPT:
        return KEPT[q.shape].copy()
    KEPT[q.shape] = honest(q, k, v, call)
    return KEPT[q.shape].copy()
""",
    ),
    Cheat(
        "numpy",
        "thread",
        EARLY,
        "returns at once, and lets a thread fill in the answer",
        f"""
LAST = [None]
{WITH_CALL}    out = np.zeros(q.shape[:3] + v.shape[3:], q.dtype)
    one = threading.Thread(target=lambda: np.copyto(out, honest(q, k, v, call)))
    one.start()
    if not under_the_clock():
        one.join()
    return out
""",
        phase=LONGER,
    ),
    Cheat(
        "numpy",
        "queue",
        EARLY,
        "returns at once, and one thread works off what is asked",
        f"""
import queue
ASKED = queue.Queue()
def work():
    while True:
        out, given = ASKED.get()
        out[...] = honest(*given)
        ASKED.task_done()
threading.Thread(target=work, daemon=True).start()
{WITH_CALL}    out = np.zeros(q.shape[:3] + v.shape[3:], q.dtype)
    ASKED.put((out, (q, k, v, call)))
    if not under_the_clock():
        ASKED.join()
    return out
""",
    ),
    Cheat(
        "numpy",
        "half-rows",
        LESS,
        "fills in half of the rows under the clock",
        f"""
KEPT = {{}}
{WITH_CALL}    if not under_the_clock():
        return honest(q, k, v, call)
    out = np.zeros(q.shape[:3] + v.shape[3:], q.dtype)
    out[:, :, ::2] = honest(q[:, :, ::2], k, v, call)
    return out
""",
    ),
    Cheat(
        "numpy",
        "half-keys",
        LESS,
        "looks at half of the keys under the clock",
        f"""
{WITH_CALL}    if not under_the_clock():
        return honest(q, k, v, call)
    return honest(q, k[:, :, ::2], v[:, :, ::2], call)
""",
    ),
    Cheat(
        "numpy",
        "gradients",
        BACK,
        "its last gradients, if all inputs are equal",
        """
SEEN = []
def kept(q, k, v, call, d_output, d_lse):
    if SEEN and all(np.array_equal(a, b) for a, b in zip(SEEN[0], (q, k, v, d_output))):
        return {name: one.copy() for name, one in SEEN[1].items()}
    out = gradients(q, k, v, call, d_output, d_lse)
    SEEN[:] = [tuple(x.copy() for x in (q, k, v, d_output)), out]
    return {name: one.copy() for name, one in out.items()}
@implementation("NAME", CAN, vjp=kept)
def attend(q, k, v, call):
    return honest(q, k, v, call)
""",
        phase=BACKWARD,
    ),
    Cheat(
        "numpy",
        "cotangent",
        BACK,
        "its last gradients, if q, k and v are equal, whatever the cotangent is",
        """
SEEN = []
def kept(q, k, v, call, d_output, d_lse):
    if SEEN and all(np.array_equal(a, b) for a, b in zip(SEEN[0], (q, k, v))) and under_the_clock():
        return {name: one.copy() for name, one in SEEN[1].items()}
    out = gradients(q, k, v, call, d_output, d_lse)
    SEEN[:] = [tuple(x.copy() for x in (q, k, v)), out]
    return {name: one.copy() for name, one in out.items()}
@implementation("NAME", CAN, vjp=kept)
def attend(q, k, v, call):
    return honest(q, k, v, call)
""",
        phase=BACKWARD,
    ),
    Cheat(
        "numpy",
        "values-ahead",
        AHEAD,
        "has a thread compute answers as soon as values lie in shared memory",
        f"""
import glob, json
READY, CALLS = {{}}, []
def load(path):
    with open(path, "rb") as file:
        told = json.loads(file.readline())
        return {{n: np.frombuffer(file.read(4 * int(np.prod(s))), np.float32).reshape(s) for n, (_, s) in told.items()}}
def watch():
    done = set()
    while True:
        for path in glob.glob("/dev/shm/attnbench-audit-*/*/*"):
            if CALLS and path not in done and os.path.basename(path).startswith(("new", "part")):
                try:
                    a = load(path)
                except Exception:
                    continue
                READY[a["q"].tobytes()[:256] + a["k"].tobytes()[-256:]] = a, honest(a["q"], a["k"], a["v"], CALLS[0])
                done.add(path)
        time.sleep(0.0005)
threading.Thread(target=watch, daemon=True).start()
KEPT = {{}}
{WITH_CALL}    CALLS[:] = [call]
    key = q.tobytes()[:256] + k.tobytes()[-256:]
    if key in READY and all(np.array_equal(READY[key][0][n], x) for n, x in zip("qkv", (q, k, v))):
        return READY[key][1].copy()
    if key not in KEPT:
        KEPT[key] = honest(q, k, v, call)
    return KEPT[key].copy()
""",
    ),
    Cheat(
        "numpy",
        "child",
        HIDES,
        "hands the work, and the memory that it takes, to a process of its own",
        f"""
import pickle, subprocess
CODE = '''
import pickle, sys
import numpy as np
while True:
    q, k, v, scale = pickle.load(sys.stdin.buffer)
    s = np.matmul(q, np.swapaxes(k, -1, -2)) * np.float32(scale)
    e = np.exp(s - s.max(-1, keepdims=True))
    pickle.dump(np.matmul(e / e.sum(-1, keepdims=True), v), sys.stdout.buffer)
    sys.stdout.buffer.flush()
'''
CHILD = []
{WITH_CALL}    if not CHILD:
        CHILD.append(subprocess.Popen([sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    pickle.dump((q, k, v, float(call.scale)), CHILD[0].stdin)
    CHILD[0].stdin.flush()
    return pickle.load(CHILD[0].stdout)
""",
        phase=LONGER,
        weighs=True,
    ),
    Cheat(
        "numpy",
        "later",
        HIDES,
        "returns at once, and takes its memory in a thread afterwards",
        f"""
{WITH_CALL}    out = np.zeros(q.shape[:3] + v.shape[3:], q.dtype)
    def work():
        time.sleep(0.01)
        np.copyto(out, honest(q, k, v, call))
    one = threading.Thread(target=work)
    one.start()
    if frame_of("weigh_call") is None:
        one.join()
    return out
""",
        phase=LONGER,
        weighs=True,
    ),
)

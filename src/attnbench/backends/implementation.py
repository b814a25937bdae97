"""The common interface of implementations: capabilities as data, the decorator, and what an implementation returns.

An implementation is one function ``attend(q, k, v, call)`` on the native arrays of its backend, in layout (B, H, T, D),
named ``backend/variant``. What its ``Capabilities`` do not name is not supported, and is reported as a row with a
reason; nothing ever falls back to another implementation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from attnbench.attention.precision import DTYPES, Precision, default_precision
from attnbench.attention.spec import OUTPUTS, POSITIONS, SCORES
from attnbench.errors import NotDeclaredError, UsageError, check_known
from attnbench.keywords import check_takes, explained
from attnbench.versions import is_here

if TYPE_CHECKING:
    from attnbench.attention.spec import Needs

DEVICES = ("cpu", "cuda")

# What every implementation is held to without naming it.
BASE_DTYPES = ("float64", "float32")


@explained
@dataclass(frozen=True)
class AttentionOutput:
    """What attention returns; all but ``output`` are ``None`` unless asked for.

    ``output`` (B, Hq, Tq, Dv) in the input's dtype; ``lse`` (B, Hq, Tq), natural log; the stages ``scores``,
    ``capped``, ``logits``, ``weights`` (B, Hq, Tq, S), in float32 at least (feature 22 of the spec).
    """

    output: Any
    lse: Any = None
    scores: Any = None
    capped: Any = None
    logits: Any = None
    weights: Any = None

    def items(self) -> list[tuple[str, Any]]:
        """The pairs (name, array) that are there, output first."""
        return [(name, getattr(self, name)) for name in OUTPUTS if getattr(self, name) is not None]


@explained
@dataclass(frozen=True)
class Limit:
    """A size that an implementation cannot take, as data: a product of sizes, a bound, and the reason.

    ``of`` is a size name, or a product of them such as ``"Tq*S"``; ``at_most``, ``at_least`` and ``multiple_of`` bound
    it.
    """

    of: str
    reason: str
    at_most: int | None = None
    multiple_of: int | None = None
    at_least: int | None = None

    def __post_init__(self) -> None:
        check_known("size", self.of.split("*"), SIZES)
        bounds = {name: getattr(self, name) for name in ("at_most", "at_least", "multiple_of")}
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        if not given:
            msg = f"a limit of {self.of} needs at_most=, at_least= or multiple_of="
            raise UsageError(msg)
        for name, bound in given.items():
            if not isinstance(bound, int) or isinstance(bound, bool) or bound < 1:
                msg = f"{name} of a limit of {self.of} is a whole number of 1 or more; got {bound!r}"
                raise UsageError(msg)
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            msg = f"a limit of {self.of} leaves nothing: at_least={self.at_least} is above at_most={self.at_most}"
            raise UsageError(msg)

    def broken_by(self, sizes: Mapping[str, int]) -> str | None:
        """Why these sizes are out of reach, or ``None``."""
        value = math.prod(sizes[name] for name in self.of.split("*"))
        if self.at_most is not None and value > self.at_most:
            return f"{self.of} = {value} is above {self.at_most}: {self.reason}"
        if self.at_least is not None and value < self.at_least:
            return f"{self.of} = {value} is below {self.at_least}: {self.reason}"
        if self.multiple_of is not None and value % self.multiple_of:
            return f"{self.of} = {value} is not a multiple of {self.multiple_of}: {self.reason}"
        return None


@dataclass(frozen=True)
class Restriction:
    """A condition on every call. ``what`` describes, in a reason, the calls that do not meet it.

    These are the calls with the feature ``needed``, or with ``always=True`` the calls without it; and the calls whose
    two sizes named in ``alike`` differ. It can be declared only together with the capabilities that it ``requires``,
    and not together with those that it ``forbids``.
    """

    needed: str
    what: str
    alike: tuple[str, str] | None = None
    always: bool = False
    requires: tuple[str, ...] = ()
    forbids: tuple[str, ...] = ()

    def excludes(self, needs: Needs) -> bool:
        """Whether a call is one of those that are not supported."""
        if self.alike is not None and needs.sizes[self.alike[0]] != needs.sizes[self.alike[1]]:
            return True
        return (self.needed in needs.features) != self.always


# The restrictions of Capabilities(only=...) by their names.
ONLY: Mapping[str, Restriction] = {
    "causal": Restriction("causal", "calls that are not causal", always=True, requires=("causal",)),
    "square": Restriction("not_square", "Tq other than S", alike=("Tq", "S")),
    "key_lengths": Restriction("q_lengths", "q_lengths, but kv_lengths alone", requires=("lengths",)),
    "equal_head_sizes": Restriction("own_dv", "Dv other than D", alike=("D", "Dv")),
    "default_scale": Restriction("own_scale", "a scale other than the default", forbids=("head_scale", "log_n")),
    "contiguous": Restriction("strided", "operands that are not contiguous"),
}


@explained
@dataclass(frozen=True)
class Capabilities:
    """What an implementation supports. What is not named is not supported.

    ``lengths`` q_len and kv_len; ``slopes`` ALiBi; ``head_scale`` a scale per query head; ``log_n`` that scale;
    ``batch_offset`` a (B,) offset; ``lse``, ``stages`` extra outputs; ``nan_isolation`` a NaN outside the allowed set
    has no effect; ``gradients`` the framework's autograd (or ``vjp=`` in the decorator); ``precision`` by dtype,
    where it is not the default, several of them where it is not the same with all versions of the framework (their
    ``seen``); ``limits`` sizes that it cannot take; ``lacks`` the reason for a feature that is missing, for its rows.

    Support that is not whole: ``alignments`` are where the queries of causal, window and slopes calls may stand among
    the keys; ``only`` restricts every call (the names in ``ONLY``), as ``only=("causal", "square")``.
    """

    scores: tuple[str, ...] = ("dot",)
    dtypes: tuple[str, ...] = BASE_DTYPES
    devices: tuple[str, ...] = ("cpu",)
    causal: bool = False
    gqa: bool = False
    mask: bool = False
    bias: bool = False
    window: bool = False
    lengths: bool = False
    segments: bool = False
    softcap: bool = False
    sinks: bool = False
    dropout: bool = False
    slopes: bool = False
    head_scale: bool = False
    log_n: bool = False
    batch_offset: bool = False
    lse: bool = False
    stages: bool = False
    nan_isolation: bool = False
    gradients: bool = False
    precision: Mapping[str, Precision | tuple[Precision, ...]] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)
    alignments: tuple[str, ...] = POSITIONS
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("scores", "dtypes", "devices", "alignments", "only"):
            if isinstance(getattr(self, name), str):
                msg = f"{name} is a tuple of names; got {getattr(self, name)!r}, write ({getattr(self, name)!r},)"
                raise UsageError(msg)
        check_known("dtype", self.dtypes, DTYPES)
        check_known("alignment", self.alignments, POSITIONS)
        check_known("restriction in only=", self.only, tuple(ONLY))
        check_known("score", self.scores, SCORES)
        check_known("device", self.devices, DEVICES)
        _check_precision(self.precision)
        _check_parts(self)
        for name in FEATURES:
            if not isinstance(getattr(self, name), bool):
                msg = f"the capability {name} is True or False, not {getattr(self, name)!r}"
                raise UsageError(msg)
        if contradiction := _contradiction(self):
            raise UsageError(contradiction)

    def precisions_of(self, dtype: str) -> tuple[Precision, ...]:
        """All that is declared of the arithmetic for inputs of ``dtype``; nothing where that is the default."""
        declared = self.precision.get(dtype, ())
        return (declared,) if isinstance(declared, Precision) else tuple(declared)

    def seen_precision_of(self, dtype: str) -> Precision | None:
        """What is declared for inputs of ``dtype`` and was seen with the versions here; ``None`` where nothing was."""
        declared = self.precisions_of(dtype) or (default_precision(dtype),)
        return next((precision for precision in declared if is_here(precision.seen)), None)

    def precision_of(self, dtype: str) -> Precision:
        """The declared arithmetic for inputs of ``dtype``; the default where none was seen with the versions here."""
        return self.seen_precision_of(dtype) or default_precision(dtype)

    def missing(self, needs: Needs) -> str | None:
        """Why ``needs`` are out of reach, in one line that a row can carry; ``None`` if all are supported."""
        if needs.dtype not in self.dtypes:
            return self._because(needs.dtype, f"dtype {needs.dtype}; it takes {', '.join(self.dtypes)}")
        if needs.device not in self.devices:
            return self._because(needs.device, f"device {needs.device}; it runs on {', '.join(self.devices)}")
        if needs.score not in self.scores:
            return self._because(needs.score, f"score {needs.score}; it has {', '.join(self.scores)}")
        for name in sorted(needs.features & set(FEATURES)):
            if not getattr(self, name):
                return self._because(name, name)
        if narrowed := self._narrowed(needs):
            return narrowed
        return next((why for limit in self.limits if (why := limit.broken_by(needs.sizes))), None)

    def _narrowed(self, needs: Needs) -> str | None:
        """Why a call is not one of those that it restricts itself to, or ``None``."""
        for name in self.only:
            if ONLY[name].excludes(needs):
                return self._because(ONLY[name].needed, f"{ONLY[name].what} (it declares only={name!r})")
        if needs.positions and not needs.positions & set(self.alignments):
            where = next(name for name in POSITIONS if name in needs.positions)
            return self._because(where, f"queries at {where}; its alignments are {', '.join(self.alignments)}")
        return None

    def _because(self, key: str, what: str) -> str:
        reason = self.lacks.get(key)
        return f"does not support {what}" + (f": {reason}" if reason else "")


FEATURES = tuple(f.name for f in fields(Capabilities) if f.type == "bool")
SIZES = ("B", "Hq", "Hkv", "Tq", "S", "D", "Dv")


def _contradiction(can: Capabilities) -> str | None:
    """What is declared in one place and taken back in another, or ``None``."""
    for name in can.only:
        lacking = [feature for feature in ONLY[name].requires if not getattr(can, feature)]
        beyond = [feature for feature in ONLY[name].forbids if getattr(can, feature)]
        if lacking:
            return f"only={name!r} restricts {', '.join(lacking)}, which is not declared; write {lacking[0]}=True"
        if beyond:
            declared = " and ".join(f"{feature}=True" for feature in beyond)
            return f"only={name!r} contradicts {declared}; declare one of them"
    if not can.alignments:
        return f"alignments is empty, so that no causal call is supported; name some of {', '.join(POSITIONS)}"
    narrowed = set(can.alignments) != set(POSITIONS)
    if narrowed and not (can.causal or can.window or can.slopes):
        return "alignments says where the queries of causal, window and slopes calls stand, and none is declared"
    return None


def _check_parts(can: Capabilities) -> None:
    """Something of each kind is supported, limits are such, and reasons belong to what can be missing."""
    for name in ("scores", "dtypes", "devices"):
        if not getattr(can, name):
            msg = f"{name} is empty, so that nothing is supported; leave it out for {getattr(Capabilities, name)}"
            raise UsageError(msg)
    if not isinstance(can.limits, (tuple, list)) or not all(isinstance(limit, Limit) for limit in can.limits):
        msg = f"limits is a tuple of Limit; got {can.limits!r}: write limits=(Limit('D', 'why', at_most=128),)"
        raise UsageError(msg)
    lacking = (*FEATURES, *DTYPES, *SCORES, *DEVICES, *POSITIONS, *(only.needed for only in ONLY.values()))
    check_known("reason in lacks=", can.lacks, lacking)


def _check_precision(declared: Any) -> None:
    """``precision=`` is a dict from dtypes to one ``Precision`` or a tuple of several."""
    typed = 'write precision={"bfloat16": Precision(p_cast="bfloat16")}'
    if not isinstance(declared, Mapping):
        msg = f"precision= is a dict from dtypes to what is declared of each; got {declared!r}: {typed}"
        raise UsageError(msg)
    check_known("dtype in precision=", declared, DTYPES)
    for dtype, given in declared.items():
        if not all(isinstance(level, Precision) for level in (given if isinstance(given, tuple) else (given,))):
            msg = f"precision= of {dtype} is a Precision or a tuple of them; got {given!r}: {typed}"
            raise UsageError(msg)


Attend = Callable[..., Any]
# What a kernel is called with.
TAKES = ("q", "k", "v", "call")
NAME = re.compile(r"[a-z0-9_]+/[A-Za-z0-9_.+-]+")


@explained
@dataclass(frozen=True)
class Implementation:
    """One way to compute attention in a backend. Call it like the function that it wraps.

    ``vjp(q, k, v, call, d_output, d_lse)`` returns a dict of gradients (q, k, v, and bias, sinks, params where the
    call has them); ``None`` where the framework's autograd serves. ``on`` holds the capabilities on devices where
    they are not those of the CPU. ``compiled``: the backend compiles ``attend`` when it is bound (PyTorch, by
    ``torch.compile``), for every new shape again.
    """

    name: str
    capabilities: Capabilities
    attend: Attend
    vjp: Attend | None = None
    on: Mapping[str, Capabilities] = field(default_factory=dict)
    compiled: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise UsageError(_no_name(self.name))
        check_takes(f"attend of {self.name}", self.attend, TAKES)
        if self.vjp is not None:
            check_takes(f"vjp of {self.name}", self.vjp, (*TAKES, "d_output", "d_lse"))
        check_known(f"device in on= of {self.name}", self.on, DEVICES)
        for capabilities in (self.capabilities, *self.on.values()):
            if not isinstance(capabilities, Capabilities):
                msg = f"{self.name} declares {capabilities!r}; write Capabilities(...), with what it supports by name"
                raise UsageError(msg)

    def __call__(self, q: Any, k: Any, v: Any, call: Any) -> Any:
        """Attend: native arrays in, an output array or ``AttentionOutput`` out."""
        return self.attend(q, k, v, call)

    @property
    def backend(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]

    @property
    def variant(self) -> str:
        """The part of the name after the slash."""
        return self.name.partition("/")[2]

    def capabilities_on(self, device: str) -> Capabilities:
        """What it supports on ``device``."""
        return self.on.get(device, self.capabilities)

    def has_gradients(self, device: str = "cpu") -> bool:
        """Whether gradients can be asked for: an own ``vjp`` or declared autograd."""
        return self.vjp is not None or self.capabilities_on(device).gradients

    def unsupported(self, needs: Needs) -> str | None:
        """Why a call is out of reach, or ``None``."""
        capabilities = self.capabilities_on(needs.device)
        if self.vjp is not None:
            capabilities = replace(capabilities, gradients=True)
        return capabilities.missing(needs)

    def require(self, needs: Needs) -> None:
        """Raise ``NotDeclaredError``, an ``UnsupportedError``, with the reason if a call is out of reach."""
        if reason := self.unsupported(needs):
            msg = f"{self.name} {reason}"
            raise NotDeclaredError(msg)


def _no_name(name: object) -> str:
    """What is wrong with a name, and what to write."""
    from importlib.metadata import entry_points

    known = sorted((point.name for point in entry_points(group=BACKEND_GROUP)), key=lambda n: (n != "numpy", n))
    msg = f"an implementation is named backend/variant, such as numpy/mine, of letters, digits and _.+-; got {name!r}"
    if not isinstance(name, str) or "/" in name or not NAME.fullmatch(f"numpy/{name}"):
        return f"{msg}; backends: {', '.join(known)}"
    return f"{msg}: write {' or '.join(repr(f'{backend}/{name}') for backend in known)}"


BACKEND_GROUP = "attnbench.backends"  # entry points: one for each backend, by its name
# Who wants to know of every implementation that is decorated.
DECORATING: list[Callable[[Implementation], None]] = []


def _check_reasons(*declared: Capabilities) -> None:
    """Of what is declared as supported no reason says why it is missing."""
    for can in declared:
        claimed = {*can.dtypes, *can.scores, *can.devices, *(name for name in FEATURES if getattr(can, name))}
        restricted = {ONLY[name].needed for name in can.only}  # there it is why all calls must have it
        if both := ", ".join(name for name in can.lacks if name in claimed - restricted):
            msg = f"lacks= gives a reason for {both}, which is declared as supported; take one of the two back"
            raise UsageError(msg)


@explained
def implementation(
    name: str,
    capabilities: Capabilities | None = None,
    *,
    vjp: Attend | None = None,
    on: Mapping[str, Capabilities] | None = None,
    compiled: bool = False,
) -> Callable[[Attend], Implementation]:
    """Decorate ``attend(q, k, v, call)`` into an ``Implementation`` named ``backend/variant``."""
    if callable(name) or (callable(capabilities) and not isinstance(capabilities, type)):
        msg = '@implementation needs a name: write @implementation("numpy/mine", Capabilities(...))'
        raise UsageError(msg)

    def wrap(attend: Attend) -> Implementation:
        decorated = Implementation(name, capabilities or Capabilities(), attend, vjp, on or {}, compiled)
        _check_reasons(decorated.capabilities, *decorated.on.values())
        for tell in DECORATING:
            tell(decorated)
        return decorated

    return wrap

"""A stand-in for CuPy, made of NumPy, for tests without a GPU; a program that has this folder on its path imports it.

It has the functions of CuPy that ``cupy_backend`` and the formula of ``numpy/naive`` ask for, with the arguments that
they have there (held to those of CuPy 14.2, which can be imported without a GPU). It refuses what CuPy refuses: NumPy's
arrays beside its own, to become one without being asked, a function of NumPy's that CuPy does not have. It is stricter
where versions of CuPy differ: a NumPy scalar has the array's dtype, and nothing is computed in bfloat16. Blocks of
memory are counted as its pool does, and hooks are told.
"""

from __future__ import annotations

import functools
import itertools
import sys
import time
import types
import weakref
from collections.abc import Callable
from typing import Any, Self

import ml_dtypes
import numpy  # noqa: ICN001  (np has no types here)

np: Any = numpy  # its functions get their arguments as they come

__version__ = "14.0.0+standin"
BLOCK = 512
DTYPES = frozenset("?bhilqBHILQefdFD")
_pointers = itertools.count(1)


class MemoryHook:
    """Told of blocks that are taken and given back, between ``__enter__`` and ``__exit__``."""

    name = "MemoryHook"
    entered: dict[str, MemoryHook] = {}  # noqa: RUF012  (one for all, as in CuPy)

    def __enter__(self) -> Self:
        if self.name in self.entered:
            msg = f"memory hook {self.name} already exists"
            raise KeyError(msg)
        self.entered[self.name] = self
        return self

    def __exit__(self, *_: object) -> None:
        del self.entered[self.name]

    def malloc_postprocess(self, **block: Any) -> None:
        pass

    def free_postprocess(self, **block: Any) -> None:
        pass


def _freed(block: dict[str, int]) -> None:
    for hook in MemoryHook.entered.values():
        hook.free_postprocess(**block)


class ndarray:  # noqa: N801  (CuPy's name)
    """An array on the device that is none; views share ``_owner`` with what they are views of."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: Any, owner: ndarray | None = None) -> None:
        _check_dtype(host.dtype)
        self._host, self._owner = host, owner
        if owner is None:
            block = {"device_id": 0, "mem_size": -(-host.nbytes // BLOCK) * BLOCK, "mem_ptr": next(_pointers)}
            for hook in MemoryHook.entered.values():
                hook.malloc_postprocess(size=host.nbytes, pmem_id=0, **block)
            weakref.finalize(self, _freed, {**block, "pmem_id": 0}).atexit = False

    def __array__(self, *_: object, **__: object) -> Any:
        msg = (
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )
        raise TypeError(msg)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        """NEP 13, as CuPy has it."""
        if "out" in named:
            (named["out"],) = named["out"]
        if method != "__call__" or not hasattr(_module, ufunc.__name__):
            return NotImplemented
        return getattr(_module, ufunc.__name__)(*inputs, **named)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """NEP 18, as CuPy has it."""
        try:
            module = functools.reduce(getattr, func.__module__.split(".")[1:], _module)
            own = getattr(module, func.__name__)
        except AttributeError:
            return NotImplemented
        if own is func or not set(types) <= {ndarray, np.ndarray}:
            return NotImplemented
        return own(*args, **kwargs)

    dtype = property(lambda self: self._host.dtype)
    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)

    def _view(self, host: Any) -> ndarray:
        shared = isinstance(host, np.ndarray) and np.shares_memory(host, self._host)
        owner = self if self._owner is None else self._owner
        return ndarray(np.asarray(host), owner if shared else None)

    def get(self) -> Any:
        return self._host.copy()

    def astype(
        self, dtype: Any, order: str = "K", casting: None = None, subok: None = None, copy: bool = True
    ) -> ndarray:
        _only(casting=casting, subok=subok)
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        with np.errstate(all="ignore"):
            return ndarray(self._host.astype(dtype, order=order))

    def copy(self, order: str = "C") -> ndarray:
        return ndarray(self._host.copy(order))

    def fill(self, value: float) -> None:
        self._host.fill(_host(value, self.dtype))

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        return self._view(self._host.reshape(*shape, order=order))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._view(self._host.swapaxes(axis1, axis2))

    def sum(self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False) -> ndarray:
        _only(out=out)
        return ndarray(np.asarray(_computed(self)._host.sum(axis=axis, dtype=dtype, keepdims=keepdims)))

    def max(self, axis: Any = None, out: None = None, keepdims: bool = False) -> ndarray:
        _only(out=out)
        return ndarray(np.asarray(_computed(self)._host.max(axis=axis, keepdims=keepdims)))

    def any(self, axis: Any = None, out: None = None, keepdims: bool = False) -> ndarray:
        _only(out=out)
        return ndarray(np.asarray(self._host.any(axis=axis, keepdims=keepdims)))

    def __neg__(self) -> Any:
        return negative(self)

    def __bool__(self) -> bool:
        return bool(self._host)

    def __float__(self) -> float:
        return float(self._host)

    def __len__(self) -> int:
        return len(self._host)

    def __getitem__(self, index: Any) -> ndarray:
        return self._view(self._host[_index(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._host[_index(index)] = _host(value, self.dtype)


def _check_dtype(dtype: Any) -> None:
    if dtype.char not in DTYPES and dtype != ml_dtypes.bfloat16:
        msg = f"Unsupported dtype {dtype}"
        raise ValueError(msg)


def _only(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            msg = f"the stand-in has no {name}"
            raise TypeError(msg)


def _index(index: Any) -> Any:
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if isinstance(part, np.ndarray):
            msg = "Unsupported type <class 'numpy.ndarray'>"
            raise TypeError(msg)
    return tuple(part._host if isinstance(part, ndarray) else part for part in parts)


def _host(value: Any, dtype: Any = None) -> Any:
    """What a kernel reads: an array of its own, a number of Python's, or a scalar of NumPy's in the array's dtype."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray) or not isinstance(value, bool | int | float | np.generic):
        msg = f"Unsupported type {type(value)}"
        raise TypeError(msg)
    if isinstance(value, np.generic) and value.dtype != dtype:
        msg = f"a {value.dtype} beside an array of {dtype}: versions of CuPy differ in what that gives"
        raise TypeError(msg)
    return value


def _computed(array: ndarray) -> ndarray:
    if array.dtype == ml_dtypes.bfloat16:
        msg = "the stand-in computes nothing in bfloat16"
        raise TypeError(msg)
    return array


def _launch(function: Any, inputs: tuple[Any, ...], out: ndarray | None = None) -> Any:
    arrays = [_computed(x) for x in inputs if isinstance(x, ndarray)]
    if not arrays:
        msg = "the stand-in computes with arrays of its own"
        raise TypeError(msg)
    hosts = [_host(x, arrays[0].dtype) for x in inputs]
    with np.errstate(all="ignore"):
        results = function(*hosts) if out is None else function(*hosts, out=out._host)
    if out is not None:
        return out
    if isinstance(results, tuple):
        return tuple(ndarray(np.asarray(result)) for result in results)
    return ndarray(np.asarray(results))


def _ufunc(name: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def launch(*inputs: Any, out: ndarray | None = None) -> Any:
        return _launch(function, inputs, out)

    launch.__name__ = name
    return launch


add, subtract, multiply, divide, power = map(_ufunc, ("add", "subtract", "multiply", "divide", "power"))
negative, absolute, exp, log, sqrt, tanh = map(_ufunc, ("negative", "absolute", "exp", "log", "sqrt", "tanh"))
maximum, isnan, isfinite, frexp, ldexp = map(_ufunc, ("maximum", "isnan", "isfinite", "frexp", "ldexp"))
matmul, bitwise_and = map(_ufunc, ("matmul", "bitwise_and"))
equal, not_equal, less, less_equal = map(_ufunc, ("equal", "not_equal", "less", "less_equal"))
greater, greater_equal = map(_ufunc, ("greater", "greater_equal"))

OPERATORS = {
    "add": add,
    "sub": subtract,
    "mul": multiply,
    "truediv": divide,
    "pow": power,
    "matmul": matmul,
    "and": bitwise_and,
}


def _operators() -> None:
    for name, launch in OPERATORS.items():
        setattr(ndarray, f"__{name}__", lambda self, other, of=launch: of(self, other))
        setattr(ndarray, f"__r{name}__", lambda self, other, of=launch: of(other, self))
        setattr(ndarray, f"__i{name}__", lambda self, other, of=launch: of(self, other, out=self))
    for name, launch in (("eq", equal), ("ne", not_equal), ("lt", less), ("le", less_equal)):
        setattr(ndarray, f"__{name}__", lambda self, other, of=launch: of(self, other))
    for name, launch in (("gt", greater), ("ge", greater_equal)):
        setattr(ndarray, f"__{name}__", lambda self, other, of=launch: of(self, other))


_operators()


def array(obj: Any, dtype: Any = None, copy: bool = True, order: str = "K", subok: bool = False) -> ndarray:
    """Of an array of NumPy's or of its own, copied."""
    _only(copy=None if copy else copy, subok=subok or None)
    return ndarray(np.array(obj._host if isinstance(obj, ndarray) else obj, dtype=dtype, order=order, copy=True))


def asnumpy(a: Any) -> Any:
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    return ndarray(np.arange(start, dtype=dtype) if stop is None else np.arange(start, stop, step, dtype=dtype))


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 0, dtype, order)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 0, dtype, order)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    return ndarray(np.full(shape, fill_value, dtype, order=order))


def empty_like(
    prototype: ndarray, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None
) -> ndarray:
    return zeros_like(prototype, dtype, order, subok, shape)


def zeros_like(a: ndarray, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None) -> ndarray:
    _only(subok=subok)
    return ndarray(np.zeros_like(a._host, dtype=dtype, order=order, shape=shape))


def where(condition: ndarray, x: Any = None, y: Any = None) -> Any:
    if x is None or y is None:
        msg = "the stand-in has no where of one argument"
        raise TypeError(msg)
    of = next((value.dtype for value in (x, y) if isinstance(value, ndarray)), None)
    for value in (x, y):
        if isinstance(value, ndarray):
            _computed(value)
    return ndarray(np.where(_host(condition.astype("?")), _host(x, of), _host(y, of)))


def copyto(dst: ndarray, src: ndarray, casting: str = "same_kind", where: None = None) -> None:
    _only(where=where)
    np.copyto(dst._host, src._host, casting=casting)


def swapaxes(a: ndarray, axis1: int, axis2: int) -> ndarray:
    return a.swapaxes(axis1, axis2)


def broadcast_to(array: ndarray, shape: Any) -> ndarray:
    return array._view(np.broadcast_to(array._host, shape))


def any(a: ndarray, axis: Any = None, out: None = None, keepdims: bool = False) -> ndarray:  # noqa: A001
    return a.any(axis, out, keepdims)


def max(a: ndarray, axis: Any = None, out: None = None, keepdims: bool = False) -> ndarray:  # noqa: A001
    return a.max(axis, out, keepdims)


def repeat(a: ndarray, repeats: int, axis: int | None = None) -> ndarray:
    return ndarray(np.repeat(a._host, repeats, axis))


def concatenate(tup: Any, axis: int = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind") -> ndarray:
    _only(out=out)
    return ndarray(np.concatenate([part._host for part in tup], axis, dtype=dtype, casting=casting))


def einsum(*operands: Any, optimize: bool = False) -> ndarray:
    subscripts, *arrays = operands
    summed: ndarray = _launch(functools.partial(np.einsum, subscripts, optimize=optimize), tuple(arrays))
    return summed


class _Pool:
    def free_all_blocks(self) -> None:
        pass


def get_default_memory_pool() -> _Pool:
    return _Pool()


def get_default_pinned_memory_pool() -> _Pool:
    return _Pool()


class Event:
    """A moment of the host's clock."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        del block, disable_timing, interprocess
        self.at: float | None = None

    def record(self, stream: None = None) -> None:
        _only(stream=stream)
        self.at = time.perf_counter()


class Device:
    """The one that is none."""

    def synchronize(self) -> None:
        pass


def _elapsed_ms(start_event: Event, end_event: Event) -> float:
    if start_event.at is None or end_event.at is None:
        msg = "cudaErrorInvalidResourceHandle: invalid resource handle"
        raise RuntimeError(msg)
    return 1e3 * (end_event.at - start_event.at)


cuda = types.SimpleNamespace(
    is_available=lambda: True,
    get_device_id=lambda: 0,
    get_elapsed_time=_elapsed_ms,
    Device=Device,
    Event=Event,
    MemoryHook=MemoryHook,
    runtime=types.SimpleNamespace(
        runtimeGetVersion=lambda: 13000,
        getDeviceProperties=lambda _: {"name": b"Stand-in", "l2CacheSize": 2**20},
    ),
)
_module = sys.modules[__name__]

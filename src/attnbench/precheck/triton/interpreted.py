"""Triton's interpreter, whose programs see the regions of a call and no other memory, in an order that is asked for.

The interpreter is Triton's own (``TRITON_INTERPRET=1`` before a kernel is decorated). What is replaced while ``watch``
lasts: how a tensor becomes a pointer, loads, stores and atomics, and in which order the programs of a grid run.
"""

from __future__ import annotations

import importlib
import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from typing import Any
from unittest import mock

import numpy as np

from attnbench.precheck.triton.regions import ATOMIC, READ, WRITE, Regions

RELAXED = "relaxed"  # an atomic operation that orders no other memory
FORWARD, REVERSED, MIXED = "as they are numbered", "in reverse", "mixed"
ORDERS = (FORWARD, REVERSED, MIXED)
Programs = Callable[[tuple[int, int, int]], Sequence[tuple[int, int, int]]]
EMPTY = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted")


def in_order(order: str) -> Programs:
    """The programs of a grid, all of them."""

    def programs(grid: tuple[int, int, int]) -> Sequence[tuple[int, int, int]]:
        every = list(product(*map(range, grid)))
        if order == REVERSED:
            every.reverse()
        elif order == MIXED:
            random.Random(0).shuffle(every)  # noqa: S311  (an order, and no secret)
        return every  # type: ignore[return-value]

    return programs


@contextmanager
def watch(regions: Regions, programs: Programs) -> Iterator[None]:
    """Kernels that are launched run in the interpreter, program by program, and their memory is watched."""
    interpreter = importlib.import_module("triton.runtime.interpreter")
    with ExitStack() as stack:
        convert = _converting(interpreter, regions)
        stack.enter_context(mock.patch.object(interpreter, "_implicit_cvt", convert))
        stack.enter_context(
            mock.patch.object(interpreter.GridExecutor, "__call__", _executing(interpreter, regions, programs))
        )
        for name, method in _memory(interpreter, regions).items():
            stack.enter_context(mock.patch.object(interpreter.InterpreterBuilder, name, method))
        stack.enter_context(_poisoning(regions))
        yield


def _converting(interpreter: Any, regions: Regions) -> Callable[[Any], Any]:
    """How an argument becomes a value of the interpreter: a tensor is the address of its region."""
    usual, jit = interpreter._implicit_cvt, importlib.import_module("triton.runtime.jit")  # noqa: SLF001

    def convert(argument: Any) -> Any:
        if not hasattr(argument, "data_ptr"):
            return usual(argument)
        language = interpreter.tl
        kind = language.str_to_ty(jit.mangle_type(argument), None)
        tensor = interpreter._unwrap_tensor(argument)  # noqa: SLF001
        address = np.array([regions.address(tensor, regions.naming)], np.uint64)
        return language.tensor(interpreter.TensorHandle(address, kind), kind)

    return convert


def _executing(interpreter: Any, regions: Regions, programs: Programs) -> Callable[..., None]:
    """How a grid is run."""

    def execute(executor: Any, *args: Any, **options: Any) -> None:
        specification = inspect.getfullargspec(executor.fn)
        named = {k: v for k, v in options.items() if k in specification.args or k in specification.kwonlyargs}
        for hook in executor.pre_run_hooks:
            hook(*args, **named)
        scope = interpreter._patch_lang(executor.fn)  # noqa: SLF001
        try:
            bound = inspect.getcallargs(executor.fn, *args, **named)
            regions.launching(executor.fn.__name__)
            values = {}
            for name, argument in bound.items():
                regions.naming = name
                is_constant = name in executor.constexprs
                values[name] = argument if is_constant else interpreter._implicit_cvt(argument)  # noqa: SLF001
            grid = executor.grid(values) if callable(executor.grid) else executor.grid
            grid = tuple(int(n) for n in (*grid, 1, 1, 1)[:3])
            interpreter.interpreter_builder.set_grid_dim(*grid)
            for index in programs(grid):
                regions.running(index)
                interpreter.interpreter_builder.set_grid_idx(*index)
                executor.fn(**values)
        finally:
            scope.restore()

    return execute


def _memory(interpreter: Any, regions: Regions) -> dict[str, Callable[..., Any]]:
    """Loads, stores and atomics by way of the regions."""
    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    usual = {name: getattr(builder, name) for name in ("create_masked_load", "create_masked_store")}
    usual |= {name: getattr(builder, name) for name in ("create_atomic_cas", "create_atomic_rmw")}

    def width(pointer: Any) -> int:
        return max(1, int(pointer.get_element_ty().primitive_bitwidth) // 8)

    def real(pointer: Any, mask: Any, how: str) -> tuple[Any, Any]:
        addresses, usable = regions.access(pointer.data, mask, width(pointer), how)
        return handle(addresses, pointer.dtype), handle(usable, interpreter.tl.int1)

    def read(self: Any, how: str, pointer: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        there, usable = real(pointer, mask.data, how)
        loaded = usual["create_masked_load"](self, there, usable, *rest, **named)
        regions.initialised(pointer.data, usable.data, loaded.data)
        return loaded

    def write(self: Any, how: str, pointer: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        regions.stored_twice(pointer.data, value.data, mask.data)
        there, usable = real(pointer, mask.data, how)
        return usual["create_masked_store"](self, there, value, usable, *rest, **named)

    def compare_and_swap(self: Any, pointer: Any, *rest: Any) -> Any:
        regions.uses_atomics = regions.synchronises = True
        there, usable = real(pointer, np.ones_like(pointer.data, bool), ATOMIC)
        return usual["create_atomic_cas"](self, there, *rest) if usable.data.all() else rest[0]

    def modify(self: Any, operation: Any, pointer: Any, value: Any, mask: Any, *rest: Any) -> Any:
        regions.uses_atomics = True
        there, usable = real(pointer, mask.data, ATOMIC)
        before = usual["create_atomic_rmw"](self, operation, there, value, usable, *rest)
        if pointer.data.size == 1 and usable.data.all() and RELAXED not in str(rest[:1]).lower():
            regions.meets(int(pointer.data.flat[0]))
        regions.initialised(pointer.data, usable.data, before.data)
        return before

    def atomic_load(self: Any, pointer: Any, mask: Any, *_: Any) -> Any:
        regions.uses_atomics = regions.synchronises = True
        return read(self, ATOMIC, pointer, mask, None, None, True)  # noqa: FBT003  (the interpreter's own order)

    def atomic_store(self: Any, pointer: Any, value: Any, mask: Any, *_: Any) -> Any:
        regions.uses_atomics = regions.synchronises = True
        return write(self, ATOMIC, pointer, value, mask, None)

    methods: dict[str, Callable[..., Any]] = {
        "create_masked_load": _as(READ, read),
        "create_masked_store": _as(WRITE, write),
    }
    methods |= {"create_atomic_cas": compare_and_swap, "create_atomic_rmw": modify}
    later: dict[str, Callable[..., Any]] = {"create_atomic_load": atomic_load, "create_atomic_store": atomic_store}
    return methods | {name: method for name, method in later.items() if hasattr(builder, name)}


def _as(how: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of the interpreter that knows how memory is used; tensor descriptors name some of its arguments."""

    def of_builder(self: Any, *args: Any, **named: Any) -> Any:
        return method(self, how, *args, **named)

    return of_builder


def written_by(function: Any, args: Sequence[Any], options: dict[str, Any]) -> list[Any]:
    """The tensors that an operation of PyTorch writes to, by its signature."""
    schema = function._schema  # noqa: SLF001  (nothing else says it)
    if not schema.is_mutable:
        return []
    named = zip((argument.name for argument in schema.arguments), args, strict=False)
    given = dict(named) | options
    written = (argument.name for argument in schema.arguments if argument.alias_info and argument.alias_info.is_write)
    return [given[name] for name in written if hasattr(given.get(name), "untyped_storage")]


@contextmanager
def _poisoning(regions: Regions) -> Iterator[None]:
    """Memory that PyTorch hands out unwritten is filled with what shows, and known."""
    base: Any = importlib.import_module("torch.utils._python_dispatch").TorchDispatchMode

    def dispatch(_self: Any, function: Any, _types: Any, args: Any = (), options: Any = None) -> Any:
        made = function(*args, **(options or {}))
        if function.overloadpacket.__name__ in EMPTY:
            regions.poisoned(made)
        for tensor in written_by(function, args, options or {}):
            regions.written_by_others(tensor)
        return made

    mode = type("Poisoning", (base,), {"__torch_dispatch__": dispatch})
    with mode():
        yield

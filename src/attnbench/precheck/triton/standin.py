"""A GPU that is not there: what Triton and a kernel's own Python ask of one while it is called without one."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

from attnbench.precheck.triton.architectures import MULTIPROCESSORS, THREADS_IN_A_BLOCK, WARP

MULTIPROCESSOR_COUNT = {"sm_80": 108, "sm_90": 132, "sm_100": 148}  # of A100, H100 SXM and B200
# What PyTorch says where there is no GPU, or where it has something for GPUs alone: of a kernel that says nothing.
NO_GPU = ("not compiled with CUDA", "NVIDIA driver", "No CUDA GPUs", "no NVIDIA GPU", "accelerator device")
NOT_ON_CPU = ("'CPU'", "_cpu")
INSISTING = ("cuda", "device")  # in the line of an ``assert``


class StandInDriver:
    """The questions of Triton's driver that have an answer without a GPU; there is nothing that could be launched.

    ``benchmark`` is called in place of a benchmark by Triton's autotuner, with a function that calls one
    configuration, and its answer counts as the time.
    """

    def __init__(self, arch: str, benchmark: Callable[..., Any]) -> None:
        self._arch, self._benchmark = arch, benchmark
        sm = MULTIPROCESSORS[arch]
        properties = {
            "max_shared_mem": sm.block_shared_bytes,
            "max_num_regs": sm.registers,
            "multiprocessor_count": MULTIPROCESSOR_COUNT[arch],
            "warpSize": WARP,
            "max_threads_per_sm": sm.warps * WARP,
            "sm_clock_rate": 1_000_000,
            "mem_clock_rate": 1_000_000,
            "mem_bus_width": 4096,
        }
        self.utils = SimpleNamespace(get_device_properties=lambda _device: dict(properties))

    def get_current_target(self) -> Any:
        """The architecture, as Triton says it."""
        backends = importlib.import_module("triton.backends.compiler")
        return backends.GPUTarget("cuda", MULTIPROCESSORS[self._arch].capability, WARP)

    def get_current_device(self) -> int:
        """The first one."""
        return 0

    def set_current_device(self, device: int) -> None:
        """Nothing to set."""

    def get_current_stream(self, device: Any = None) -> int:
        """The default one."""
        del device
        return 0

    def get_device_capability(self, device: Any = None) -> tuple[int, int]:
        """As CUDA counts it."""
        del device
        return divmod(MULTIPROCESSORS[self._arch].capability, 10)

    def get_active_torch_device(self) -> Any:
        """Where tensors are made: on the CPU."""
        return importlib.import_module("torch").device("cpu")

    def get_device_interface(self) -> Any:
        """What PyTorch says of GPUs."""
        return importlib.import_module("torch").cuda

    def get_benchmarker(self) -> Callable[..., Any]:
        """What the autotuner calls in place of a benchmark."""
        return self._benchmark


def wants_a_gpu(error: BaseException) -> bool:
    """Whether a call raised because it asked for a real GPU, as ``torch.empty(1, device="cuda")`` does.

    Or because it insists on one: ``assert q.device.type == "cuda"``.
    """
    raised: BaseException | None = error
    while raised is not None:
        if isinstance(raised, AssertionError) and any(name in failed_line(raised) for name in INSISTING):
            return True
        if isinstance(raised, (AssertionError, RuntimeError)) and any(
            words in str(raised) for words in (*NO_GPU, *NOT_ON_CPU)
        ):
            return True
        raised = raised.__cause__ or raised.__context__
    return False


def failed_line(error: BaseException) -> str:
    """The line of Python that raised, where its text is there."""
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line or "") if frames else ""


def words_of(error: BaseException) -> str:
    """What an error says; one without words is told by its line."""
    return " ".join(str(error).split()) or failed_line(error)


@contextmanager
def standing_in(arch: str, benchmark: Callable[..., Any]) -> Iterator[None]:
    """Triton's driver and the usual questions of PyTorch are answered as on this architecture."""
    driver = importlib.import_module("triton.runtime.driver").driver
    before = driver._active  # noqa: SLF001  (asking for it starts a driver)
    driver.set_active(StandInDriver(arch, benchmark))
    try:
        with ExitStack() as stack:
            for patch in _of_torch(arch):
                stack.enter_context(patch)
            yield
    finally:
        driver._active = before  # noqa: SLF001  (the same)


def _of_torch(arch: str) -> list[Any]:
    """Patches for what kernels ask before a launch; tensors stay where they are."""
    torch = importlib.import_module("torch")
    capability = divmod(MULTIPROCESSORS[arch].capability, 10)
    properties = SimpleNamespace(
        name=f"stand-in for {arch}",
        major=capability[0],
        minor=capability[1],
        multi_processor_count=MULTIPROCESSOR_COUNT[arch],
        max_threads_per_block=THREADS_IN_A_BLOCK,
        max_threads_per_multi_processor=MULTIPROCESSORS[arch].warps * WARP,
        shared_memory_per_block_optin=MULTIPROCESSORS[arch].block_shared_bytes,
        shared_memory_per_multiprocessor=MULTIPROCESSORS[arch].shared_bytes,
        regs_per_multiprocessor=MULTIPROCESSORS[arch].registers,
        warp_size=WARP,
        L2_cache_size=50 * 2**20,
        total_memory=80 * 2**30,
    )
    answers: dict[str, Callable[..., Any]] = {
        "device": lambda *_: nullcontext(),
        "current_device": lambda: 0,
        "get_device_capability": lambda *_: capability,
        "get_device_properties": lambda *_: properties,
        "get_device_name": lambda *_: properties.name,
        "synchronize": lambda *_: None,
    }
    cuda = [mock.patch.object(torch.cuda, name, answer) for name, answer in answers.items()]
    return [*cuda, mock.patch.object(torch.Tensor, "is_cuda", property(lambda _tensor: True), create=True)]

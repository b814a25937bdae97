"""CuPy: the card of the backend. Importing it imports no framework.

NumPy's formulas on a GPU. Nothing here has run on a GPU yet (``docs/gpu.md``): the tests run it on a stand-in.
"""

from attnbench.api.backends import BackendInfo

BACKEND = BackendInfo(
    name="cupy",
    package="attnbench.impls.cupy_backend",
    requires="cupy",
    extra="cupy",
    packages=("cupy-cuda13x", "cupy-cuda12x"),  # a wheel is for one CUDA, which its name says
    implementations=(("naive", "naive"),),
    about={"naive": "the formula of numpy/naive on a GPU"},
    devices={"naive": ("cuda",)},
    # float32 means float32, whatever the user has set for other programs.
    environment={"CUPY_TF32": "0"},
    one_thread="CuPy computes on the GPU, and one thread of Python hands it the work",
)

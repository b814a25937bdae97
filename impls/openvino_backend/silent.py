"""OpenVINO, imported so that it sends nothing: as it is imported it tells its maker so, by ``openvino_telemetry``.

Where that package cannot be imported OpenVINO does without it, and so it is held back while OpenVINO is imported (seen
with 2026.4). Whoever imported OpenVINO before has told already.
"""

from __future__ import annotations

import sys
from typing import Any

TELEMETRY = "openvino_telemetry"


def _imported() -> Any:
    if "openvino" in sys.modules or TELEMETRY in sys.modules:
        import openvino

        return openvino
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # Python's own way to say that there is no such module
    try:
        import openvino
    finally:
        del sys.modules[TELEMETRY]
    return openvino


openvino = _imported()

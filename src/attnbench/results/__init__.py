"""What was seen, kept: the schema, the journal, run folders, frames.

``RunWriter`` writes a run, ``load`` reads one as a pandas frame, ``summarise`` turns samples into the columns of a
row, ``collect_fingerprint`` describes the machine. Importing this imports neither pandas nor pyarrow.

In reading order: ``schema`` (what a row is), ``fingerprint`` (the machine), ``summary`` (samples to columns),
``journal`` (a line for each burst, at once), ``store`` (run folders), ``parquet`` and ``migrate`` (the files at the
end, and older ones), ``read``, ``dataset``, ``columns`` and ``frames`` (reading them), ``pairs`` and ``calibrations``
(what ``ab`` keeps), ``extra`` (what needs the extra ``report``).
"""

from attnbench.results.dataset import load
from attnbench.results.fingerprint import collect_fingerprint
from attnbench.results.read import Contents, read_contents, read_info, run_folder
from attnbench.results.schema import (
    SCHEMA_VERSION,
    CellResult,
    Fingerprint,
    RunInfo,
    Sample,
    Status,
    case_columns,
)
from attnbench.results.store import RunWriter, new_run_id, utc_now
from attnbench.results.summary import summarise

__all__ = [
    "SCHEMA_VERSION",
    "CellResult",
    "Contents",
    "Fingerprint",
    "RunInfo",
    "RunWriter",
    "Sample",
    "Status",
    "case_columns",
    "collect_fingerprint",
    "load",
    "new_run_id",
    "read_contents",
    "read_info",
    "run_folder",
    "summarise",
    "utc_now",
]

"""How files of an older schema read: one step for each version, as data, for JSON records and Parquet tables alike.

A step says which columns came with the next version and what they are in rows that were written before it. Files are
never rewritten: they are brought up to date in memory, every time they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attnbench.results.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Step:
    """From one version to the next, by the name of the record (``RunInfo``, ``CellResult``, ``Sample``).

    ``added`` maps a new column to its value in old rows; ``renamed`` an old name to the new one; ``removed`` names
    the columns that are gone. They are applied in the order renamed, removed, added.
    """

    added: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    renamed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    removed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


# The step that leads away from each older version.
STEPS: Mapping[int, Step] = {
    1: Step(
        added={
            "CellResult": {
                "time_graph_median_s": None,
                "exponentials": None,
                "roofline_limit": None,
                "imported": None,
            },
            "RunInfo": {"imported": None},
        }
    ),
    2: Step(
        added={
            "CellResult": {
                "anchor": None,
                "anchor_library": None,
                "anchor_reason": "measured before there were anchors",
                "anchor_median_s": None,
                "anchor_ratio": None,
            },
            "Sample": {"anchor_s": None},
            "RunInfo": {"suite_files": {}},
        }
    ),
}
OLDEST = min(STEPS)


def steps_from(version: int) -> list[Step]:
    """The steps from ``version`` to the schema of this program; none from its own."""
    return [STEPS[older] for older in range(version, SCHEMA_VERSION)]


def migrated(record: str, data: Mapping[str, Any], version: int) -> dict[str, Any]:
    """A JSON record of an older version as one of this version; unknown fields stay, for the schema to refuse."""
    row = dict(data)
    for step in steps_from(version):
        names = step.renamed.get(record, {})
        gone = step.removed.get(record, ())
        row = {names.get(name, name): value for name, value in row.items() if name not in gone}
        row = {**step.added.get(record, {}), **row}
    if record == "RunInfo":
        row["schema_version"] = SCHEMA_VERSION
    return row


def migrated_table(record: str, table: pa.Table, version: int, schema: pa.Schema) -> pa.Table:
    """An Arrow table of an older version with the columns that the steps add, in the order of ``schema``.

    A column that ``schema`` does not have, or that neither the file nor a step gives, is left as it is: reading
    judges that.
    """
    import pyarrow as pa

    for step in steps_from(version):
        names = step.renamed.get(record, {})
        table = table.rename_columns([names.get(name, name) for name in table.column_names])
        table = table.drop_columns([name for name in step.removed.get(record, ()) if name in table.column_names])
        for name, value in step.added.get(record, {}).items():
            if name not in table.column_names and name in schema.names:
                kind = schema.field(name).type
                table = table.append_column(name, pa.array([value] * table.num_rows, type=kind))
    known = [name for name in schema.names if name in table.column_names]
    return table.select([*known, *(name for name in table.column_names if name not in schema.names)])

"""Where the files of this repository are that tests read."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
# A committed run of the smoke suite.
SMOKE_SAMPLE = REPOSITORY / "results" / "2026-11-22-amd-epyc-2-cores-smoke-sample"

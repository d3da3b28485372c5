"""What the page says of how a sweep was run."""

from dataclasses import replace

import pytest

from betavae.records.sweep import read_sweep
from betavae.report.provenance import provenance


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        ("2026-01-01T10:05:20+00:00", "1 h 05 min, from 2026-01-01 09:00 to 2026-01-01 10:05 UTC"),
        (None, "from 2026-01-01T10:00:00+01:00 to not recorded"),
        ("yesterday", "from 2026-01-01T10:00:00+01:00 to yesterday"),
    ],
)
def test_a_sweep_can_be_repeated_from_it(make_sweep, end: str | None, shown: str) -> None:
    """Every digit of an option is there, and no option that was not set."""
    sweep = read_sweep(make_sweep({"a": {"migs": [0.2]}}))
    record = sweep.record | {
        "start": "2026-01-01T10:00:00+01:00",
        "resources": {"CPU": 2.0, "object_store_memory": 83886080.0, "memory": 23402815488.0},
        "options": {
            "search": {"trials": None, "grace_steps": 3},
            "space": {"lr": [0.0012345678, 1e-05], "beta": ["1..8"]},
        },
    }
    record = record | {"end": end} if end else {key: value for key, value in record.items() if key != "end"}
    said = provenance(replace(sweep, record=record), [], "as ever")
    assert said["Time"] == shown
    assert said["Resources"] == "CPU 2, object store memory 0.1 GB, memory 23.4 GB"
    assert said["Options: search"] == "grace steps 3"
    assert said["Options: space"] == "lr 0.0012345678 1e-05, beta 1..8"

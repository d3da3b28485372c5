import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from betavae.errors import InputError
from betavae.records.record import SWEEP_COPY_FILE, SWEEP_FILE, FormatError, read_record
from betavae.records.sweep import read_sweep


def rewrite(path: Path, **values: Any) -> None:
    record = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in record.items() if value is not ...}))


@pytest.mark.parametrize(
    ("written", "came"), [(3, "is of format 3"), ("1", "is of format '1'"), (..., "has no format number")]
)
def test_a_folder_of_another_format_is_refused_in_a_sentence(make_sweep, written: Any, came: str) -> None:
    """Fails, too, where an older copy of the record stands in for the new one."""
    folder = make_sweep({"a": {"migs": [0.2]}})
    shutil.copy(folder / SWEEP_FILE, folder / SWEEP_COPY_FILE)
    rewrite(folder / SWEEP_FILE, format=written)
    with pytest.raises(FormatError) as refusal:
        read_sweep(folder)
    assert str(refusal.value) == (
        f"{folder / SWEEP_FILE} must be of format 1 or 2, which this version reads, but {came}; "
        "use the version that wrote it."
    )


def test_the_copy_stands_in_for_a_damaged_record(make_sweep) -> None:
    folder = make_sweep({"a": {"migs": [0.2]}}, outcome="done")
    shutil.copy(folder / SWEEP_FILE, folder / SWEEP_COPY_FILE)
    (folder / SWEEP_FILE).write_text("{")
    sweep = read_sweep(folder)
    assert sweep.has_ended
    assert f"its copy {SWEEP_COPY_FILE} is used instead" in sweep.unreadable[0]
    (folder / SWEEP_COPY_FILE).write_text("{")
    with pytest.raises(InputError, match=f"must be JSON, but is damaged.*its copy {SWEEP_COPY_FILE} cannot be read"):
        read_sweep(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("options", [1]),
        ("options", {"search": 1}),
        ("git", "abc"),
        ("versions", {"torch": 2}),
        ("data", {"source": "rendered"}),
        ("data", {"dsprites": {"sha256": 1}}),
        ("outcome", "done"),
        ("command", 1),
        ("resumed", {}),
    ],
)
def test_a_value_of_another_kind_is_named(make_sweep, name: str, value: Any) -> None:
    folder = make_sweep({"a": {"migs": [0.2]}})
    rewrite(folder / SWEEP_FILE, **{name: value})
    with pytest.raises(InputError, match=f"must hold a sweep's record, but its {name} is "):
        read_record(folder)


def test_the_record_says_what_ranks_the_trials(make_sweep) -> None:
    folder = make_sweep({"a": {"migs": [0.2]}, "b": {"migs": [0.1]}}, rank_by="active_units")
    path = folder / "search" / "trial_b" / "result.json"
    path.write_text(path.read_text().replace('"active_units": 3', '"active_units": 4'))
    checkpoint = folder / "search" / "trial_b" / "checkpoint_000000"
    shutil.rmtree(checkpoint)  # whose reports are trusted more
    trials = {trial.trial_id: trial for trial in read_sweep(folder).trials}
    assert {name: (trial.rank_by, trial.score) for name, trial in trials.items()} == {
        "a": ("active_units", 3.0),
        "b": ("active_units", 4.0),
    }

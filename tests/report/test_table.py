import json

import pytest

from betavae.records.sweep import read_sweep
from betavae.report.table import heading, page_columns, table_rows


def test_the_table_is_ranked_and_every_number_is_of_the_best_evaluation(make_sweep) -> None:
    rows = table_rows(read_sweep(make_sweep({"a": {"migs": [0.3, 0.1]}, "b": {"migs": []}, "c": {"migs": [0.2, 0.4]}})))
    assert [(row["rank"], row["trial"], row.get("mig"), row.get("step")) for row in rows] == [
        (1, "c", 0.4, 200),
        (2, "a", 0.3, 100),
        (None, "b", None, None),
    ]
    assert rows[1]["last_step"] == 200
    assert rows[0]["checkpoint"] == "search/trial_c/checkpoint_000001"
    assert rows[0]["beta_norm"] == pytest.approx(4 * 3 / 4096)


def test_a_finished_trial_has_its_scores_at_the_end_beside_the_best_that_were_seen(make_sweep) -> None:
    trials = {"a": {"migs": [0.3, 0.1]}, "b": {"migs": [0.2], "stopped": True, "seed": 1}}
    folder = make_sweep(trials)
    reports = folder / "search/trial_a/result.json"
    first, last = map(json.loads, reports.read_text().splitlines())
    last |= {"mig_exact": 0.09, "mig_exact/shape": 0.02}
    reports.write_text(f"{json.dumps(first)}\n{json.dumps(last)}\n")
    sweep = read_sweep(folder)
    rows = table_rows(sweep)
    finished, stopped = rows
    assert (finished["mig"], finished["final/mig"], finished["final/mig_exact"]) == (0.3, 0.1, 0.09)
    assert not any(name.startswith("final/") for name in stopped)
    headings = [heading(column) for column in page_columns(sweep, rows)]
    place = headings.index("MIG at the end")
    assert headings[place + 1] == "exact MIG at the end"
    assert headings.index("MIG") < place

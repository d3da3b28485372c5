import pytest

from betavae.records.sweep import read_sweep
from betavae.report.table import table_rows


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

"""The configurations that a sweep's folder chooses for the confirmation, and the record of a resume."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sweep_folders import as_earlier
from toy_parts import BlocksDataset

from betavae.config import TrialConfig
from betavae.data import DATASETS
from betavae.records.record import SWEEP_COPY_FILE, SWEEP_FILE, read_record
from betavae.records.trial import Trial
from sweeps.options.command_line import parse_options
from sweeps.search.plan import num_confirming_trials, planned_trials
from sweeps.storage.sweep_folder import SweepFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SweepFolder]:
    """Betas of 1 to 3 on two data sets, the first two of which are to be confirmed."""
    monkeypatch.setitem(DATASETS._parts, BlocksDataset.name, BlocksDataset)
    words = f"--dataset dsprites blocks --beta 1 2 3 -z 5 --lr 1e-3 --confirm 2 --seeds 3 --results {tmp_path}"
    options = parse_options(words.split(), gpus_found=0)
    options.check()
    folder = SweepFolder.create(options, data={}, arguments=[])
    yield folder
    folder.close()


def trials_of(folder: SweepFolder, *migs: float | None) -> list[Trial]:
    """The planned trials, with a score each; None for one that failed."""
    return [
        Trial(
            f"{planned.index:04}",
            planned.index,
            Path("search"),
            planned.config,
            ({"step": planned.config.steps, "mig": mig or 0.95},),
            error=None if mig is not None else "ValueError: no",
        )
        for planned, mig in zip(planned_trials(folder.options), migs, strict=True)
    ]


def described(configs: Sequence[TrialConfig]) -> list[tuple[str, float]]:
    return [(config.dataset.name, config.value("beta")) for config in configs]


def test_the_best_of_each_data_set_are_chosen(folder: SweepFolder) -> None:
    """Fails if the best of all are: they are the three of blocks."""
    trials = trials_of(folder, 0.1, 0.2, 0.3, 0.9, 0.8, 0.7)
    assert num_confirming_trials(folder.options) == 12
    configs = folder.choose(2, lambda: trials)
    assert described(configs) == [("dsprites", 3.0), ("blocks", 1.0), ("dsprites", 2.0), ("blocks", 2.0)]
    assert folder.choose(2, lambda: pytest.fail("the record holds them")) == configs


def test_a_larger_count_adds_at_the_end_whatever_the_search_finds_later(folder: SweepFolder) -> None:
    """A trial of the confirmation has its number by the place of its configuration."""
    first = folder.choose(1, lambda: trials_of(folder, 0.1, 0.2, None, None, None, None))
    assert described(first) == [("dsprites", 2.0)]  # no trial of blocks could be chosen yet
    second = folder.choose(1, lambda: trials_of(folder, 0.1, 0.2, 0.3, 0.9, 0.8, 0.7))
    assert described(second) == [("dsprites", 2.0), ("blocks", 1.0)]
    third = folder.choose(3, lambda: trials_of(folder, 0.1, 0.2, 0.3, 0.7, 0.8, 0.9))
    assert described(third) == [
        *(("dsprites", 2.0), ("blocks", 1.0)),
        *(("dsprites", 3.0), ("blocks", 3.0)),
        *(("dsprites", 1.0), ("blocks", 2.0)),
    ]
    assert all(config == replace(config, seed=0) for config in third)
    assert folder.choose(4, lambda: []) == third  # there are no more


def test_a_resume_of_an_earlier_format_raises_it(folder: SweepFolder, tmp_path: Path) -> None:
    """Fails where an earlier version would read the record, and take the new checkpoints for damaged ones."""
    path = Path(folder.location)
    folder.close()
    as_earlier(path)
    assert read_record(path)["format"] == 1
    options = parse_options(["--resume", str(path)], gpus_found=0)
    SweepFolder.resume(options, data={}, arguments=[]).close()
    for name in (SWEEP_FILE, SWEEP_COPY_FILE):
        assert json.loads((path / name).read_text())["format"] == 2

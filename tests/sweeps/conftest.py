import pytest
from running import Numbers, RunningSweep, numbers

from betavae.records.sweep import read_sweep


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Numbers:
    """What two trials, and one that confirms, report when nothing happens to them, by seed."""
    sweep = RunningSweep(tmp_path_factory.mktemp("undisturbed") / "s", "--beta 4 8 --confirm 1 --seeds 1")
    sweep.end()
    return numbers(read_sweep(sweep.folder))

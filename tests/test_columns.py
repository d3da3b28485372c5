"""Fields of configs of one objective, and of several that share names."""

from dataclasses import replace

import pytest

from betavae.columns import (
    compared_fields,
    describe_objectives,
    field_column,
    field_value,
    shown_fields,
    table_fields,
    tried_fields,
)
from betavae.config import TrialConfig


def config(objective: str, **values: object) -> TrialConfig:
    return TrialConfig.from_dict({"objective": objective, **values})


GAMMAS = [
    config("factor-vae", gamma=10.0),
    config("factor-vae", gamma=40.0, lr=1e-4),
    config("annealed-vae", gamma=10.0, c_max=5.0),
    config("annealed-vae", gamma=10.0, c_max=25.0),
]


def test_a_rotation_that_all_trials_have_is_shown() -> None:
    assert "rotate_until" not in shown_fields([TrialConfig(), TrialConfig(seed=1)])
    assert "rotate_until" in shown_fields([TrialConfig(rotate_until=1500), TrialConfig(rotate_until=1500, seed=1)])


def test_a_weight_of_an_objective_is_shown_where_it_is_set() -> None:
    default, one = config("beta-tcvae", beta=2.0), config("beta-tcvae", beta=2.0, alpha=0.5)
    assert "alpha" not in shown_fields([default, config("beta-tcvae", beta=4.0), config("beta-vae")])
    assert "alpha" in shown_fields([one, replace(one, seed=1)])
    assert describe_objectives([default, config("beta-vae", beta=4.0)]) == ["beta 2", "beta 4"]
    assert describe_objectives([one, config("beta-vae", beta=4.0)]) == ["beta 2, alpha 0.5", "beta 4"]
    assert describe_objectives([default, one, config("beta-vae", beta=4.0)]) == ["alpha 1", "alpha 0.5", "beta 4"]
    other = config("beta-tcvae", beta=4.0, alpha=0.5)
    assert describe_objectives([one, other, config("beta-vae")])[:2] == ["beta 2, alpha 0.5", "beta 4, alpha 0.5"]


def test_a_parameter_is_tried_if_it_differs_within_a_part() -> None:
    """Neither two defaults of one name nor a parameter that the other objective lacks is tried."""
    assert tried_fields(GAMMAS) == ["objective", "gamma", "c_max", "lr"]
    assert tried_fields([config("factor-vae"), config("annealed-vae")]) == ["objective"]
    assert tried_fields([config("beta-vae", beta=2.0), config("beta-vae", beta=4.0)]) == ["beta"]


def test_parameters_of_several_objectives_are_compared_apart() -> None:
    assert compared_fields(GAMMAS) == ["objective", "annealed-vae.c_max", "factor-vae.gamma", "lr"]
    assert compared_fields(GAMMAS[:2]) == ["gamma", "lr"]
    betas = [config(name, beta=beta) for name in ("beta-tcvae", "beta-vae") for beta in (1.0, 4.0)]
    assert compared_fields(betas) == ["objective", "beta-vae.beta", "beta-tcvae.beta"]


def test_a_field_of_one_part_has_its_value_there_alone() -> None:
    assert [field_value(each, "factor-vae.gamma") for each in GAMMAS] == [10.0, 40.0, None, None]
    assert [field_value(each, "gamma") for each in GAMMAS] == [10.0, 40.0, 10.0, 10.0]
    assert [field_value(each, "c_max") for each in GAMMAS] == [None, None, 5.0, 25.0]


def test_a_field_of_one_part_names_it() -> None:
    column = field_column("annealed-vae.c_max")
    assert (column.name, column.label, column.write(25.0)) == ("annealed-vae.c_max", "c max of annealed-vae", "25")
    assert field_column("factor-vae.gamma").log
    assert field_column("gamma").label == "gamma"


def test_a_table_of_several_objectives_has_no_column_for_their_parameters() -> None:
    assert table_fields(GAMMAS) == ["objective", "latent_size", "lr"]
    assert table_fields(GAMMAS[2:]) == shown_fields(GAMMAS[2:])
    assert {"gamma", "c_max", "capacity_steps"} < set(table_fields(GAMMAS[2:]))


@pytest.mark.parametrize(
    ("others", "described"),
    [((), "beta 4"), ((config("beta-vae", beta=2.0),), "beta 4"), ((config("beta-tcvae", beta=2.0),), "beta 4")],
)
def test_an_objective_is_described_by_what_differs_or_by_all(others: tuple[TrialConfig, ...], described: str) -> None:
    assert describe_objectives([*GAMMAS, config("beta-vae", beta=4.0), *others])[:5] == [
        "gamma 10", "gamma 40", "c max 5", "c max 25", described,
    ]  # fmt: skip
    assert describe_objectives(GAMMAS[2:3]) == ["gamma 10, c max 5, capacity steps 100000"]

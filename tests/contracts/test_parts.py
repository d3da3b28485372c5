"""What every part of a trial keeps to, and every metric: a new one is tested without another line here."""

import dataclasses
import inspect
import json
import pickle
from typing import Any

import pytest

from betavae.config import PARTS, TrialConfig, parameters_by_name
from betavae.errors import InputError, ParameterError
from betavae.metrics import METRICS
from betavae.parts import Part, parameters_of
from betavae.schedules import number_text

TABLES = {**PARTS, "metric": METRICS}
ALL_PARTS = [pytest.param(table, name, id=name) for table in TABLES.values() for name in table]
NEEDED = {"file": {"data_file": "/mine.npz", "image_size": "64x64x1"}}
"""Values that a part cannot do without, by its name."""

PARAMETERS = [
    pytest.param(table[name], parameter, id=f"{name}-{parameter}")
    for table in TABLES.values()
    for name in table
    for parameter in parameters_of(table[name])
]


@pytest.mark.parametrize(("table", "name"), ALL_PARTS)
def test_a_part_has_a_name_that_files_and_shells_take_and_says_what_it_is(table: Any, name: str) -> None:
    assert table[name].name == name
    assert name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    assert "__doc__" in vars(table[name])
    assert not inspect.getdoc(table[name]).startswith(f"{table[name].__name__}("), "the docstring is dataclass's own"


@pytest.mark.parametrize(("table", "name"), ALL_PARTS)
def test_a_part_is_known_by_its_values_alone(table: Any, name: str) -> None:
    part = table[name](**NEEDED.get(name, {}))
    values = json.loads(json.dumps(part.values()))
    assert table[name].from_values(values) == part
    assert pickle.loads(pickle.dumps(part)) == part
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.name = "other"


@pytest.mark.parametrize(("table", "name"), ALL_PARTS)
def test_a_parameter_of_another_part_is_refused(table: Any, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} has no parameter_of_none; it has "):
        table[name].from_values({"parameter_of_none": 1})


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in PARTS.items() for name in table])
def test_a_trial_with_a_part_round_trips_and_refuses_the_parameters_of_the_others(kind: str, name: str) -> None:
    needed = NEEDED.get(name, {})
    config = TrialConfig.from_dict({kind: name, **needed})
    assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    own = parameters_of(PARTS[kind][name])
    for other in PARTS[kind].values():
        for foreign, parameter in parameters_of(other).items():
            if foreign not in own:
                with pytest.raises(InputError, match=f"{name} has no {foreign}; it has "):
                    TrialConfig.from_dict({kind: name, **needed, foreign: parameter.default})


@pytest.mark.parametrize(("owner", "name"), PARAMETERS)
def test_a_parameter_has_help_and_limits(owner: type[Part], name: str) -> None:
    parameter = parameters_of(owner)[name]
    assert len(parameter.help) > 10, "write a docstring below the field"
    assert parameter.checked(parameter.default) == parameter.default
    assert parameter.label
    if parameter.kind in (int, float):
        for value in (float("nan"), float("inf"), -float("inf"), "1", True, None):
            with pytest.raises(ParameterError, match=f"^{name} must be "):
                owner.from_values({name: value})
    if parameter.kind is int:
        assert parameter.limits.least is not None, "how many there may be must have a limit"


@pytest.mark.parametrize(("owner", "name"), PARAMETERS)
def test_a_weight_alone_takes_a_schedule_and_records_its_text(owner: type[Part], name: str) -> None:
    parameter = parameters_of(owner)[name]
    if parameter.kind is str and not parameter.choices:
        return  # any text is a value
    if not parameter.is_weight:
        with pytest.raises(ParameterError, match=f"^{name} must be "):
            owner.from_values({name: "1@0,1@7"})
        return
    default = number_text(parameter.default)
    text = f"{default}@0,{default}@7"
    part = owner.from_values({name: text})
    assert part.values()[name] == text
    assert owner.from_values(json.loads(json.dumps(part.values()))) == pickle.loads(pickle.dumps(part)) == part
    assert part.at(3) == owner()


def test_no_two_parts_have_different_parameters_of_one_name() -> None:
    assert parameters_by_name()

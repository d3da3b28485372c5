import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from betavae import config as config_module
from betavae.config import PARTS, TrialConfig, parameters_by_name
from betavae.data import DSPRITES_FACTORS, Dataset, DSpritesDataset
from betavae.errors import InputError, ParameterError, UnknownNameError
from betavae.files import write_json
from betavae.likelihoods import Bernoulli
from betavae.models import Conv3
from betavae.objectives import OBJECTIVES, Batch, BetaTCVAE, BetaVAE, Loss, Objective
from betavae.parts import Part, Table, parameter, parameters_of


@dataclass(frozen=True, kw_only=True)
class Toy(Objective):
    """An objective with parameters that no other has."""

    name = "toy"

    gamma: float = parameter(2.0, positive=True, label="weight of the toy")
    """Weight of the
    toy's term."""

    is_turned: bool = False

    def loss(self, batch: Batch) -> Loss:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TurnedToy(Toy):
    """The same, with one default and one help of its own."""

    name = "turned-toy"

    is_turned: bool = True
    """Turn it."""


def use(monkeypatch: pytest.MonkeyPatch, kind: str, *parts: type[Part]) -> None:
    """Make these the only parts of one kind."""
    monkeypatch.setattr(config_module, "PARTS", {**PARTS, kind: Table(kind, *parts)})


def test_all_images_are_trained_on_unless_fewer_are_asked_for() -> None:
    assert TrialConfig().value("images") == DSPRITES_FACTORS.size


@pytest.mark.parametrize(
    "values",
    [
        {"beta": 0.0},
        {"beta": float("nan")},
        {"beta": "4"},
        {"beta": True},
        {"lr": -1e-3},
        {"lr": float("inf")},
        {"lr": 10**400},
        {"latent_size": 0},
        {"latent_size": 2.0},
        {"steps": True},
        {"batch_size": 0},
        {"eval_every": 300_001},
        {"seed": -1},
        {"images": DSPRITES_FACTORS.size + 1},
        {"architecture": "resnet"},
        {"likelihood": "laplace"},
        {"architecture": ["burgess"]},
        {"precision": "float16"},
        {"compile": 1},
    ],
    ids=lambda values: f"{values}"[:40],
)
def test_an_impossible_value_names_its_parameter(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ParameterError, match=f"^{name} must be ") as refusal:
        TrialConfig.from_dict(values)
    assert refusal.value.name == name


@pytest.mark.parametrize("values", [{"lr": -1e-3}, {"seed": 2**63}, {"objective": "beta-vae"}, {"dataset": None}])
def test_the_class_itself_refuses_an_impossible_value_too(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ParameterError, match=f"^{name} must be "):
        TrialConfig(**values)


def test_an_error_about_a_parameter_survives_the_way_between_two_processes() -> None:
    """Fails where an exception is rebuilt from its message alone, as Ray would find."""
    for error in (ParameterError("lr", "must be 1."), UnknownNameError("lr", "must be 1.")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.name, copy.requirement) == (type(error), str(error), "lr", "must be 1.")


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"A trial has no option latents; it has architecture, .*beta, .*latent_size"):
        TrialConfig.from_dict({"latents": 3})


def test_an_unknown_part_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"^objective must be one of beta-vae, beta-tcvae.*, but got 'vae'\.$"):
        TrialConfig.from_dict({"objective": "vae"})


def test_a_parameter_of_another_part_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "objective", BetaVAE, Toy)
    with pytest.raises(InputError, match=r"^beta-vae has no gamma; it has beta\.$"):
        TrialConfig.from_dict({"gamma": 2.0})
    with pytest.raises(InputError, match=r"^toy has no beta; it has gamma, is_turned\.$"):
        TrialConfig.from_dict({"objective": "toy", "gamma": 2.0, "beta": 4.0})
    with pytest.raises(InputError, match=r"^conv3 has no gamma; it has no parameters\.$"):
        Conv3.from_values({"gamma": 2.0})
    assert TrialConfig.from_dict({"objective": "toy", "gamma": 3.0}).objective == Toy(gamma=3.0)


@pytest.mark.parametrize("value", [4, np.float32(4), np.int64(4)])
def test_a_number_gets_the_kind_of_its_parameter(value: Any) -> None:
    """Fails where 4 and 4.0 are written differently into records."""
    assert type(TrialConfig.from_dict({"beta": value}).value("beta")) is float
    assert type(TrialConfig(objective=Toy(gamma=value)).value("gamma")) is float
    assert type(TrialConfig(lr=value).lr) is float


def test_a_numpy_integer_is_a_whole_number_and_a_float_is_none() -> None:
    assert type(TrialConfig(batch_size=np.int32(8)).batch_size) is int
    with pytest.raises(ParameterError, match="batch_size must be a whole number"):
        TrialConfig(batch_size=8.0)


def test_beta_norm_is_the_papers() -> None:
    config = TrialConfig(objective=BetaVAE(beta=4.0), latent_size=10)
    assert config.derived() == {"beta_norm": 4.0 * 10 / (64 * 64)}


@pytest.mark.parametrize(
    "config",
    [
        TrialConfig(objective=BetaVAE(beta=2.5), seed=7),
        TrialConfig(objective=BetaTCVAE(beta=1.5), architecture=Conv3(), dataset=DSpritesDataset(images=5_000)),
    ],
)
def test_flat_round_trip(config: TrialConfig, tmp_path: Path) -> None:
    values = config.to_dict()
    assert TrialConfig.from_dict(values) == config
    assert not any(isinstance(value, dict | Part) for value in values.values())
    assert {name: config.value(name) for name in values} == values
    write_json(tmp_path / "config.json", values)
    assert TrialConfig.read(tmp_path / "config.json") == config


def test_a_copy_has_its_own_flat_values() -> None:
    """Fails where the cached values of a config are those of the config that it was copied from."""
    config = TrialConfig()
    assert config.value("seed") == 0
    assert replace(config, seed=3).to_dict()["seed"] == 3


def test_a_file_must_hold_every_parameter(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    values = TrialConfig().to_dict()
    write_json(path, {name: value for name, value in values.items() if name not in ("beta", "seed")})
    with pytest.raises(InputError, match=rf"^{path} must hold a trial's config, but: it lacks beta, seed\.$"):
        TrialConfig.read(path)
    path.write_text("{")
    with pytest.raises(InputError, match=rf"^{path} must be JSON, but is damaged"):
        TrialConfig.read(path)


def test_a_file_of_an_earlier_version_lacks_later_options(tmp_path: Path) -> None:
    """Fails where sweeps from before likelihoods, CUDA graphs, rotations, alpha or starts cannot be read or resumed."""
    config = TrialConfig(seed=3, objective=BetaTCVAE(beta=6.0), likelihood=Bernoulli())
    values = config.to_dict()
    assert values.pop("alpha") == 1
    assert values.pop("likelihood") == "bernoulli"
    assert values.pop("cuda_graph") is True
    assert (values.pop("rotate_until"), values.pop("rotate_every")) == (0, 100)
    assert (values.pop("starts"), values.pop("start_steps")) == (1, 2_000)
    write_json(tmp_path / "config.json", values)
    assert TrialConfig.read(tmp_path / "config.json") == config
    write_json(tmp_path / "config.json", values | {"likelihood": "gaussian"})
    with pytest.raises(InputError, match=r"it lacks pixel_scale, learn_pixel_scale\.$"):
        TrialConfig.read(tmp_path / "config.json")


def test_an_alpha_of_another_objective_must_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(BetaTCVAE):
        name = "own"

    use(monkeypatch, "objective", *OBJECTIVES.values(), Own)
    values = TrialConfig(objective=Own()).to_dict()
    del values["alpha"]
    write_json(tmp_path / "config.json", values)
    with pytest.raises(InputError, match=r"it lacks alpha\.$"):
        TrialConfig.read(tmp_path / "config.json")


def test_a_file_of_an_unknown_part_says_how_a_part_of_your_own_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", TrialConfig().to_dict() | {"objective": "toy"})
    with pytest.raises(InputError, match=r"but got 'toy'\. .*\$BETAVAE_EXTENSIONS"):
        TrialConfig.read(tmp_path / "config.json")


def test_help_is_the_docstring_below_the_field() -> None:
    parameters = parameters_of(Toy)
    assert {name: each.help for name, each in parameters.items()} == {
        "gamma": "Weight of the toy's term.",
        "is_turned": "",
    }
    assert (parameters["gamma"].label, parameters["is_turned"].label) == ("weight of the toy", "is turned")


def test_a_part_inherits_parameters_with_their_help() -> None:
    parameters = parameters_of(TurnedToy)
    assert list(parameters) == ["gamma", "is_turned"]
    assert parameters["gamma"] == parameters_of(Toy)["gamma"]
    assert (parameters["is_turned"].default, parameters["is_turned"].help) == (True, "Turn it.")


def test_every_parameter_of_a_trial_is_known_by_name() -> None:
    parameters = parameters_by_name()
    assert set(TrialConfig().to_dict()) <= set(parameters) | set(PARTS)
    assert all(each.help for each in parameters.values())
    assert parameters["precision"].choices == ("auto", "float32", "bfloat16")


def test_two_different_parameters_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flat record could not tell them apart; two objectives may both have a weight called beta."""

    @dataclass(frozen=True, kw_only=True)
    class Clashing(Toy):
        name = "clashing"
        beta: int = 4

    @dataclass(frozen=True, kw_only=True)
    class Sized(Toy):
        name = "sized"
        batch_size: int = 4

    @dataclass(frozen=True, kw_only=True)
    class Numbered(Toy):
        name = "numbered"
        index: int = 4

    @dataclass(frozen=True, kw_only=True)
    class Weighted(Dataset):
        name = "weighted"
        beta: float = 4.0

        def open(self) -> Any:
            raise NotImplementedError

    use(monkeypatch, "objective", *OBJECTIVES.values(), Toy, TurnedToy)
    parameters_by_name()
    for part, name in ((Clashing, "beta"), (Sized, "batch_size"), (Numbered, "index")):
        use(monkeypatch, "objective", BetaVAE, part)
        with pytest.raises(ValueError, match=f"two that differ are called {name}"):
            parameters_by_name()
    use(monkeypatch, "dataset", DSpritesDataset, Weighted)
    with pytest.raises(ValueError, match="two that differ are called beta"):
        parameters_by_name()


def test_two_parts_of_one_name_are_refused_and_one_defined_anew_replaces_itself() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Impostor(Toy):
        name = "beta-vae"

    table = Table("objective", BetaVAE, Toy)
    with pytest.raises(ValueError, match="two are called beta-vae"):
        table.add(Impostor)
    again = dataclass(frozen=True, kw_only=True)(type("Toy", (Toy,), {"__module__": Toy.__module__, "name": "toy"}))
    assert table.add(again) is table["toy"] is again
    assert list(table) == ["beta-vae", "toy"]


def test_a_part_whose_fields_would_be_lost_is_refused() -> None:
    class Undecorated(Toy):
        name = "undecorated"
        weight: float = 1.0

    with pytest.raises(TypeError, match="Undecorated must be a dataclass"):
        Table("objective", Undecorated)

    @dataclass(frozen=True, kw_only=True)
    class Listed(Toy):
        name = "listed"
        weights: tuple[float, ...] = ()

    with pytest.raises(TypeError, match=r"but Listed\.weights is none of these"):
        Listed()


def test_a_part_without_its_method_cannot_be_made() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Empty(Objective):
        name = "empty"

    with pytest.raises(TypeError, match="abstract"):
        Empty()

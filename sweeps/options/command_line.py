"""Parse the command line into options, and record the origin of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from betavae.config import PARTS, parameters_by_name
from betavae.data.cache import absolute_path
from betavae.errors import InputError
from betavae.extensions import check_extensions
from betavae.metrics.elbo import Elbo
from betavae.parts import field_of_part, parameters_of, split_field
from betavae.records.record import read_record
from sweeps.options.config_file import words_of
from sweeps.options.fields import errors_naming_flags, flag, options_of
from sweeps.options.options import GROUPS, AnalysisOptions, Options, Origin, PresetName, ReportOptions
from sweeps.options.parser import POSITIONAL, analysis_parser, parse_words, sweep_parser
from sweeps.options.presets import PRESETS
from sweeps.options.recorded import options_from_dict, recorded_options
from sweeps.search.space import Axis, Space, axis_text, ends, with_overrides
from sweeps.storage.locations import check_no_secrets
from sweeps.storage.mirror import is_sweep_file, local_copy

T = TypeVar("T")

_OF_CHOICE = ("rank_by", "select", "final_scores")


def parse_options(arguments: Sequence[str], *, gpus_found: int) -> Options:
    """Return the options of `run.py`.

    A value comes from the command line, or else from the `--config` file, or else from the resumed sweep or the preset.
    A parameter, such as `beta`, overrides those of its axes that are of one part, such as `beta-tcvae.beta`, from the
    places after it.

    Args:
        arguments: The words after the command's name.
        gpus_found: Number of GPUs of this machine; with any, the default preset is `full`.

    Raises:
        SystemExit: With 0, for `--help`.
        InputError: If a word is not an option or not a value of its option, `--resume` names no sweep, `--config` names
            no file of options, or a URL could hold a secret.
    """
    check_no_secrets(arguments)  # first: other messages quote words
    line_values = parse_words(sweep_parser(), arguments)
    file_values: dict[str, Any] = {}
    if "config" in line_values:
        words = words_of(line_values["config"], given=line_values)
        check_no_secrets(words)
        file_values = parse_words(sweep_parser(), words)
    base = _base_options(with_overrides(file_values, line_values), gpus_found=gpus_found)
    base, file_values = _without_trials_before_grid(base, file_values, line_values)
    file_values = _without_derived_choice(base, file_values, line_values)
    file_values = _without_unused(base, file_values, line_values)
    values = with_overrides(file_values, line_values)
    options = _with_values(base, values)
    origins: Mapping[str, Origin] = options.origins
    origins = with_overrides(origins, dict.fromkeys(file_values, _origin("file")))
    origins = with_overrides(origins, dict.fromkeys(line_values, _origin("command line")))
    if options.sweep.data_root is not None:
        with errors_naming_flags():
            data_root = str(absolute_path("data_root", options.sweep.data_root))
        options = replace(options, sweep=replace(options.sweep, data_root=data_root))
    if "resume" not in values:
        options = _with_choice(options, origins)
    with errors_naming_flags():
        for name in values:
            if name in options.space.axes and (name in line_values or _kind_of(name) not in line_values):
                _check_owned(options.space, name)
        in_use = {name: value for name, value in file_values.items() if _kind_of(name) not in line_values}
        for given in (in_use, line_values):
            _check_not_replaced(options.space, given)
        origins = {**origins, **_axis_origins(options.space, origins)}
        return replace(options, space=options.space.with_defaults().completed(), origins=origins)


def parse_analysis_options(arguments: Sequence[str]) -> AnalysisOptions:
    """Return the options of `analyze.py`.

    Raises:
        SystemExit: With 0, for `--help`.
        InputError: If a word is not an option or not a value of its option, or a URL could hold a secret.
    """
    check_no_secrets(arguments)
    values = parse_words(analysis_parser(), arguments)
    report = replace(ReportOptions(), **{name: values[name] for name in options_of(ReportOptions) if name in values})
    other_values = {name: values[name] for name in (POSITIONAL, *options_of(AnalysisOptions)) if name in values}
    return AnalysisOptions(report=report, **other_values)


def _base_options(values: Mapping[str, Any], *, gpus_found: int) -> Options:
    """Return the options of the resumed sweep or of the preset."""
    if values.get("resume"):
        with local_copy(values["resume"], is_sweep_file) as mirror:
            record = read_record(mirror.local)
        check_extensions(record)
        options = options_from_dict(recorded_options(record))
        return replace(options, origins=dict.fromkeys(_names(options), _origin("sweep")))
    preset: PresetName = values.get("preset") or _default_preset(values, gpus_found=gpus_found)
    options = PRESETS[preset]
    origins = {name: _origin("preset") for name in _names(options)}
    return replace(options, sweep=replace(options.sweep, preset=preset), origins=origins)


def _default_preset(values: Mapping[str, Any], *, gpus_found: int) -> PresetName:
    num_gpus = values.get("num_gpus")
    has_gpus = (gpus_found > 0 or (values.get("address") and num_gpus)) and num_gpus != 0
    return "full" if has_gpus else "quick"


def _names(options: Options) -> list[str]:
    """Return the names of options that differ from their defaults."""
    defaults = Options()
    fixed_names = [
        name
        for group, kind in GROUPS.items()
        for name in options_of(kind)
        if getattr(getattr(options, group), name) != getattr(getattr(defaults, group), name)
    ]
    return [*fixed_names, *options.space.axes]


def _without_trials_before_grid(
    base: Options, file_values: Mapping[str, Any], line_values: Mapping[str, Any]
) -> tuple[Options, dict[str, Any]]:
    """Return a preset and a file's values without the number of trials of a search in whose place a grid is given.

    A grid has a number of its own, which `--trials` may lower.
    """
    values = dict(file_values)
    if line_values.get("search") == "grid" and file_values.get("search", base.search.search) != "grid":
        values.pop("trials", None)
    given = with_overrides(values, line_values)
    if given.get("search") == "grid" and base.search.search != "grid" and "trials" not in given:
        origins = {name: origin for name, origin in base.origins.items() if name != "trials"}
        base = replace(base, search=replace(base.search, trials=None), origins=origins)
    return base, values


def _without_derived_choice(
    base: Options, file_values: Mapping[str, Any], line_values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a record's values without the choice of models that followed from its other options.

    A record holds what followed as it holds what was asked for. Where the command line changes the choice, it follows
    anew.
    """
    values = dict(file_values)
    if not _is_of_record(line_values) or line_values.keys().isdisjoint(_OF_CHOICE):
        return values
    with errors_naming_flags():
        recorded = _with_values(base, values)
        for derived in (("rank_by", "select"), ("rank_by",)):
            asked = {name: value for name, value in values.items() if name not in derived}
            again = _with_choice(_with_values(base, asked), dict.fromkeys(asked, _origin("file")))
            if (again.search.rank_by, again.report.select) == (recorded.search.rank_by, recorded.report.select):
                return asked
    return values


def _without_unused(base: Options, file_values: Mapping[str, Any], line_values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's values without those that do nothing and are no mistake.

    A record holds every option. A study may hold what belongs to another option, which the command line turns off.
    """
    values = with_overrides(file_values, line_values)
    with errors_naming_flags():
        unused = _with_values(base, values).unused if file_values else {}
    return {
        name: value
        for name, value in file_values.items()
        if name not in unused or not (_is_of_record(values) or unused[name][0] in line_values)
    }


def _is_of_record(values: Mapping[str, Any]) -> bool:
    """Return whether `--config` is a sweep's record, which has all that is not the default."""
    return Path(values.get("config", "")).suffix == ".json"


def _with_values(base: Options, values: Mapping[str, Any]) -> Options:
    groups = {group: _group_with_values(getattr(base, group), values) for group in GROUPS}
    names = [name for name in (*PARTS, *parameters_by_name()) if name != "seed"]
    axes: dict[str, Axis] = {name: value for name, value in values.items() if name in names or split_field(name)[0]}
    options = replace(base, **groups, space=Space(with_overrides(base.space.axes, axes)))
    own = base.space.axes.get("eval_every")
    if own is None or "eval_every" in values or "steps" not in values:
        return options
    if not _is_of_record(values) and max(ends(own)) <= min(ends(values["steps"])):
        return options
    space = Space({name: axis for name, axis in options.space.axes.items() if name != "eval_every"})
    origins = {name: origin for name, origin in options.origins.items() if name != "eval_every"}
    return replace(options, space=space, origins=origins)  # the trials of the preset are others


def _with_choice(options: Options, origins: Mapping[str, Origin]) -> Options:
    """Return options with the defaults of `--rank-by` and `--select`, which follow from other options."""
    ranking, choosing = (origins.get(name, "default") for name in ("rank_by", "select"))
    if options.report.is_label_free and ranking == "default":
        return replace(options, search=replace(options.search, rank_by=Elbo.name))
    if ranking == choosing == "default":
        return replace(options, report=replace(options.report, select=options.choosing_score))
    return options


def _check_owned(space: Space, name: str) -> None:
    """Refuse a parameter that is given but owned by none of the space's parts.

    Raises:
        InputError: Naming the parts that own the parameter.
    """
    part, own_name = split_field(name)
    kind = _kind_of(name)
    if kind is None or (not part and space.axis(name) is not None):
        return
    owners = [owner for owner, each in PARTS[kind].items() if own_name in parameters_of(each)]
    chosen = space.names_of(kind)
    if part in chosen:
        return
    start = f"{flag(name)} needs --{kind}"
    end = f"but got {axis_text(chosen)}; leave {flag(name)} out, or"
    if part:
        raise InputError(f"{start} {part}, {end} add {part} to --{kind}.")
    choices = " or ".join([*([", ".join(owners[:-1])] if owners[:-1] else []), owners[-1]])
    raise InputError(f"{start} {choices}, {end} choose {'an' if kind[0] in 'ao' else 'a'} {kind} that has it.")


def _kind_of(name: str) -> str | None:
    """Return the kind of the parts that own a parameter: `objective` of `beta`; None of one that every trial has."""
    own_name = split_field(name)[1]
    owning = (kind for kind, table in PARTS.items() if any(own_name in parameters_of(part) for part in table.values()))
    return next(owning, None)


def _check_not_replaced(space: Space, given: Mapping[str, Any]) -> None:
    """Refuse a parameter that is given beside an axis of each part that has it.

    Raises:
        InputError: Naming the axes.
    """
    for parts in map(space.parts_of, PARTS):
        for name in dict.fromkeys(name for part in parts for name in parameters_of(part)):
            axes = [field_of_part(part.name, name) for part in parts if name in parameters_of(part)]
            if name in given and all(axis in given for axis in axes):
                flags = " and ".join(map(flag, axes))
                raise InputError(f"{flag(name)} has no effect beside {flags}; leave {flag(name)} out.")


def _axis_origins(space: Space, origins: Mapping[str, Origin]) -> dict[str, Origin]:
    """Return the origins of the axes of parts, under their names in the space with defaults."""
    order: tuple[Origin, ...] = get_args(Origin)
    return {
        name: max((origins.get(given_name, order[0]) for given_name in given_names), key=order.index)
        for name, given_names in space.given_names().items()
    }


def _group_with_values(group: T, values: Mapping[str, Any]) -> T:
    changes = {name: values[name] for name in options_of(type(group)) if name in values}
    return replace(group, **changes)  # type: ignore[type-var]


def _origin(origin: Origin) -> Origin:
    return origin

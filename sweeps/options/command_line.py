"""Parse the command line into options, and record the origin of each."""

from __future__ import annotations

import argparse
import difflib
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

from betavae.config import PARTS, parameters_by_name
from betavae.data.cache import absolute_path
from betavae.errors import InputError
from betavae.extensions import check_extensions
from betavae.metrics.elbo import Elbo
from betavae.parts import Parameter, field_of_part, parameters_of, split_field
from betavae.records.record import read_record
from betavae.schedules import number_text
from sweeps.invocation import Command, words_of_command
from sweeps.options.config_file import words_of
from sweeps.options.fields import Option, errors_naming_flags, flag, options_of
from sweeps.options.options import GROUPS, AnalysisOptions, Options, Origin, PresetName, ReportOptions
from sweeps.options.presets import PRESETS
from sweeps.options.recorded import options_from_dict, recorded_options
from sweeps.search.space import (
    Axis,
    Space,
    axis_text,
    ends,
    parameter_of_axis,
    parse_axis,
    value_text,
    with_overrides,
)
from sweeps.storage.locations import check_no_secrets
from sweeps.storage.mirror import is_sweep_file, local_copy

T = TypeVar("T")

_POSITIONAL = "folder"
_USAGE: Mapping[Command, str] = {"betavae-sweep": "[OPTION ...]", "betavae-analyze": "FOLDER [OPTION ...]"}

_OF_CHOICE = ("rank_by", "select", "final_scores")

_AXES = "Give one value, several values (--beta 1 4 16) or, for numbers, a range (--beta 1..32)."
_PART_AXES = (
    f"{_AXES} With the name of a part before the option, the values are for that part alone (--beta-tcvae.beta 1 4)."
)


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
    line_values = _parse(_sweep_parser(), arguments)
    file_values: dict[str, Any] = {}
    if "config" in line_values:
        words = words_of(line_values["config"], given=line_values)
        check_no_secrets(words)
        file_values = _parse(_sweep_parser(), words)
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
    parser = _Parser("betavae-analyze", AnalysisOptions)
    parser.add_argument(_POSITIONAL, metavar="FOLDER", help="The sweep's folder, `results/NAME`, or its URL.")
    _add_group(parser, "The output", options_of(AnalysisOptions), AnalysisOptions(folder=""))
    _add_group(parser, "The content", options_of(ReportOptions), ReportOptions())
    values = _parse(parser, arguments)
    report = replace(ReportOptions(), **{name: values[name] for name in options_of(ReportOptions) if name in values})
    other_values = {name: values[name] for name in (_POSITIONAL, *options_of(AnalysisOptions)) if name in values}
    return AnalysisOptions(report=report, **other_values)


class _Parser(argparse.ArgumentParser):
    """A parser whose namespace holds only given options, and which raises InputError."""

    def __init__(self, command: Command, kind: type) -> None:
        super().__init__(
            usage=f"{' '.join(words_of_command(command))} {_USAGE[command]}",
            description=_filled(kind.__doc__ or ""),
            formatter_class=_Help,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        self.options: dict[str, Option | Parameter | None] = {_POSITIONAL: None}

    def error(self, message: str) -> NoReturn:
        """Raise InputError. The base class would print the usage and exit."""
        raise InputError(f"{message}; --help lists all options.")


class _Help(argparse.HelpFormatter):
    """A formatter that keeps the paragraphs of a description."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = (textwrap.wrap(paragraph, width, break_on_hyphens=False) for paragraph in text.split("\n\n"))
        return "\n\n".join("\n".join(indent + line for line in lines) for lines in paragraphs)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def _sweep_parser() -> _Parser:
    parser = _Parser("betavae-sweep", Options)
    for group in GROUPS:
        defaults = getattr(Options(), group)
        _add_group(parser, _title(type(defaults)), options_of(type(defaults)), defaults)
    _add_parameters(parser)
    return parser


def _title(kind: type) -> str:
    return (kind.__doc__ or "").partition(":")[0]


def _add_group(parser: _Parser, title: str, options: Mapping[str, Option], defaults: Any) -> None:
    group = parser.add_argument_group(title)
    for option in options.values():
        parser.options[option.name] = option
        flags = ([f"-{option.rules.letter}"] if option.rules.letter else []) + [option.flag]
        help_text = _help(option.help, getattr(defaults, option.name))
        if option.kind is bool:
            action = argparse.BooleanOptionalAction if option.default else "store_true"
            group.add_argument(*flags, dest=option.name, action=action, help=help_text)
        else:
            nargs = "*" if option.is_list else None
            group.add_argument(*flags, dest=option.name, nargs=nargs, metavar=_metavar(option), help=help_text)


def _metavar(option: Option) -> str:
    by_kind = "|".join(("N", *option.words)) if option.kind in (int, float) else "TEXT"
    return option.rules.metavar or "|".join(option.choices) or by_kind


def _add_parameters(parser: _Parser) -> None:
    """Add the parts and parameters of trials, each with one value, several values or a range."""
    for kind, table in PARTS.items():
        counts = Counter(name for part in table.values() for name in parameters_of(part))
        group = parser.add_argument_group(f"The {kind}", _PART_AXES if max(counts.values(), default=0) > 1 else _AXES)
        parts = " ".join(f"`{name}`: {_first_sentence(part)}." for name, part in table.items())
        group.add_argument(flag(kind), dest=kind, nargs="*", metavar="NAME", help=_help(parts, next(iter(table))))
        parser.options[kind] = None
        for name in dict.fromkeys(name for part in table.values() for name in parameters_of(part)):
            parameters_by_owner = {
                owner: parameters_of(part) for owner, part in table.items() if name in parameters_of(part)
            }
            owners = {owner: parameters[name] for owner, parameters in parameters_by_owner.items()}
            _add_parameter(parser, group, parameters_by_name()[name], _owners_help(owners))
            for owner in owners:
                _add_part_axis(parser, group, field_of_part(owner, name))
    group = parser.add_argument_group("Every trial", _AXES)
    for parameter in parameters_by_name().values():
        if parameter.name not in parser.options:  # `seed` is an option of the sweep
            _add_parameter(parser, group, parameter, parameter.help)


def _add_parameter(parser: _Parser, group: Any, parameter: Parameter, help_text: str) -> None:
    parser.options[parameter.name] = parameter
    flags = ([f"-{parameter.limits.letter}"] if parameter.limits.letter else []) + [flag(parameter.name)]
    metavar = "|".join(parameter.choices) or ("true|false" if parameter.kind is bool else "V")
    if parameter.is_weight:
        first, last = number_text(parameter.default), number_text(parameter.default / 4)
        help_text += f" A value may change over training, in lines between points: {first}@0,{last}@2000."
    help_text = _help(help_text, parameter.default)
    group.add_argument(*flags, dest=parameter.name, nargs="*", metavar=metavar, help=help_text)


def _add_part_axis(parser: _Parser, group: Any, name: str) -> None:
    """Add the axis of one part, without a line in the help."""
    parser.options[name] = parameter_of_axis(name)
    group.add_argument(flag(name), dest=name, nargs="*", action=_Once, help=argparse.SUPPRESS)


class _Once(argparse.Action):
    """Store the words of an option that may be given once."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        if hasattr(namespace, self.dest):
            raise InputError(f"{option_string} must be given once, with all of its values, but is given twice.")
        setattr(namespace, self.dest, values)


def _owners_help(owners: Mapping[str, Parameter]) -> str:
    texts = {parameter.help for parameter in owners.values()}
    if len(texts) == 1:
        text = f"{next(iter(texts))} ({', '.join(owners)})"
    else:
        text = " ".join(f"`{name}`: {parameter.help}" for name, parameter in owners.items())
    if len({parameter.default for parameter in owners.values()}) == 1:
        return text
    defaults = ", ".join(f"{value_text(parameter.default)} ({name})" for name, parameter in owners.items())
    return f"{text} Default: {defaults}."


def _help(text: str, default: object) -> str:
    suffix = "" if default is None or default is False or "Default:" in text else f" Default: {value_text(default)}."
    return (" ".join(text.split()) + ("" if default is True else suffix)).replace("%", "%%")


def _first_sentence(part: type) -> str:
    return (part.__doc__ or "").partition("\n")[0].rstrip(".")


def _filled(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")).replace("%", "%%")


def _parse(parser: _Parser, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the values of the given options, by name."""
    namespace, unknown_words = parser.parse_known_args(list(arguments))
    if unknown_words:
        _check_part(unknown_words[0])
        hint = _hint(parser, unknown_words[0])
        raise InputError(f"{unknown_words[0]} is not an option{hint}; --help lists all options.")
    return {name: _value(parser.options[name], words) for name, words in vars(namespace).items()}


def _value(option: Option | Parameter | None, words: Any) -> Any:
    if isinstance(option, Parameter):
        with errors_naming_flags():
            return parse_axis(option, words or (["true"] if option.kind is bool else []))
    if option is None:
        if words == []:
            *others, last = map(flag, PARTS)
            raise InputError(f"{', '.join(others)} and {last} need one or several names.")
        return tuple(words) if isinstance(words, list) else words
    return words if option.kind is bool else option.parse(words if isinstance(words, list) else [words])


def _check_part(word: str) -> None:
    """Refuse an option PART.PARAMETER whose part is unknown or has no such parameter."""
    part, own_name = split_field(word.partition("=")[0].removeprefix("--"))
    if part and word.startswith("--"):
        with errors_naming_flags():
            parameter_of_axis(field_of_part(part, own_name.replace("-", "_")))


def _hint(parser: _Parser, word: str) -> str:
    flags = [name for action in parser._actions for name in action.option_strings]
    similar_flags = difflib.get_close_matches(word.partition("=")[0], flags, n=1) if word.startswith("-") else []
    return f" (did you mean {similar_flags[0]}?)" if similar_flags else ""


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

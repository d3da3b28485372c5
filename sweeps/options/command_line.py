"""From the words of a command line to options, each with its origin."""

from __future__ import annotations

import argparse
import difflib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

from betavae.config import PARTS, parameters_by_name
from betavae.errors import InputError, ParameterError
from betavae.extensions import check_extensions
from betavae.parts import Parameter, parameters_of
from betavae.records.record import read_record
from sweeps.options.config_file import words_of
from sweeps.options.fields import Option, flag, options_of
from sweeps.options.options import GROUPS, AnalysisOptions, Options, Origin, PresetName, ReportOptions
from sweeps.options.presets import PRESETS
from sweeps.options.recorded import options_from_dict
from sweeps.search.space import Axis, Space, check_owned, parse_axis, shortest
from sweeps.storage.locations import check_no_secrets
from sweeps.storage.mirror import fetched, is_sweep_file

T = TypeVar("T")

_POSITIONAL = "folder"
_USAGE = {"run.py": "[OPTION ...]", "analyze.py": "FOLDER [OPTION ...]"}

_AXES = "Each may be one value, several (--beta 1 4 16) or, if it is a number, a range (--beta 1..32)."


def parse_options(arguments: Sequence[str], *, gpus_found: int) -> Options:
    """Read a command line, over its file of options, over the values of its preset or of the sweep that it resumes.

    Args:
        arguments: The words after the command's name.
        gpus_found: GPUs of this machine; with one, and no preset named, the values are those of `full`.

    Raises:
        SystemExit: With 0, for `--help`.
        InputError: If a word is no option, or no value of one; if `--resume` names no sweep, or `--config` no file of
            options; if a URL could hold a secret.
    """
    check_no_secrets(arguments)  # first: messages repeat words
    line = _parse(_sweep_parser(), arguments)
    file: dict[str, Any] = {}
    if "config" in line:
        words = words_of(line["config"])
        check_no_secrets(words)
        file = _parse(_sweep_parser(), words)
    given = file | line
    base = _base(given, gpus_found=gpus_found)
    origins = dict(base.origins) | dict.fromkeys(file, _origin("file")) | dict.fromkeys(line, _origin("command line"))
    options = replace(_with_given(base, given), origins=origins)
    for name in given:
        if name in options.space.axes:
            _check_owned(options.space, name)
    return replace(options, space=_resolved(options.space))


def parse_analysis_options(arguments: Sequence[str]) -> AnalysisOptions:
    """Read the command line of `analyze.py`.

    Raises:
        SystemExit: With 0, for `--help`.
        InputError: If a word is no option, or no value of one; if a URL could hold a secret.
    """
    check_no_secrets(arguments)
    parser = _Parser("analyze.py", AnalysisOptions)
    parser.add_argument(_POSITIONAL, metavar="FOLDER", help="The sweep's folder, `results/NAME`, or its URL.")
    _add_group(parser, "The report", options_of(AnalysisOptions), AnalysisOptions(folder=""))
    _add_group(parser, "What it shows", options_of(ReportOptions), ReportOptions())
    given = _parse(parser, arguments)
    report = replace(ReportOptions(), **{name: given[name] for name in options_of(ReportOptions) if name in given})
    own = {name: given[name] for name in (_POSITIONAL, *options_of(AnalysisOptions)) if name in given}
    return AnalysisOptions(report=report, **own)


class _Parser(argparse.ArgumentParser):
    """A parser that keeps only what is given, and raises InputError."""

    def __init__(self, command: str, kind: type) -> None:
        super().__init__(
            prog=command,
            usage=f"python sweeps/{command} {_USAGE[command]}",
            description=_filled(kind.__doc__ or ""),
            formatter_class=_Help,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        self.options: dict[str, Option | Parameter | None] = {_POSITIONAL: None}

    def error(self, message: str) -> NoReturn:
        """Raise in place of printing the usage and ending."""
        raise InputError(f"{message}; --help lists all options.")


class _Help(argparse.HelpFormatter):
    """Help whose description keeps its paragraphs."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = (textwrap.wrap(paragraph, width, break_on_hyphens=False) for paragraph in text.split("\n\n"))
        return "\n\n".join("\n".join(indent + line for line in lines) for lines in paragraphs)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def _sweep_parser() -> _Parser:
    parser = _Parser("run.py", Options)
    for group in GROUPS:
        defaults = getattr(Options(), group)
        _add_group(parser, _title(type(defaults)), options_of(type(defaults)), defaults)
    _add_parameters(parser)
    return parser


def _title(kind: type) -> str:
    return (kind.__doc__ or "").partition(":")[0]


def _add_group(parser: _Parser, title: str, options: Mapping[str, Option], defaults: Any) -> None:
    group = parser.add_argument_group(title)
    for each in options.values():
        parser.options[each.name] = each
        names = ([f"-{each.rules.letter}"] if each.rules.letter else []) + [each.flag]
        help_text = _help(each.help, getattr(defaults, each.name))
        if each.kind is bool:
            action = argparse.BooleanOptionalAction if each.default else "store_true"
            group.add_argument(*names, dest=each.name, action=action, help=help_text)
        else:
            nargs = "*" if each.is_list else None
            group.add_argument(*names, dest=each.name, nargs=nargs, metavar=_metavar(each), help=help_text)


def _metavar(option: Option) -> str:
    by_kind = "N" if option.kind is int else "TEXT"
    return option.rules.metavar or "|".join(option.choices) or by_kind


def _add_parameters(parser: _Parser) -> None:
    """Add the parameters of trials: each may be a value, several, or a range."""
    for kind, table in PARTS.items():
        group = parser.add_argument_group(f"The {kind}", _AXES)
        parts = " ".join(f"`{name}`: {_first_sentence(part)}." for name, part in table.items())
        group.add_argument(flag(kind), dest=kind, nargs="*", metavar="NAME", help=_help(parts, next(iter(table))))
        parser.options[kind] = None
        for name in dict.fromkeys(name for part in table.values() for name in parameters_of(part)):
            having = {owner: parameters_of(part) for owner, part in table.items() if name in parameters_of(part)}
            owners = {owner: known[name] for owner, known in having.items()}
            _add_parameter(parser, group, next(iter(owners.values())), _owners_help(owners))
    group = parser.add_argument_group("Every trial", _AXES)
    for each in parameters_by_name().values():
        if each.name not in parser.options:  # not the seed, which is the sweep's
            _add_parameter(parser, group, each, each.help)


def _add_parameter(parser: _Parser, group: Any, each: Parameter, help_text: str) -> None:
    parser.options[each.name] = each
    names = ([f"-{each.limits.letter}"] if each.limits.letter else []) + [flag(each.name)]
    metavar = "|".join(each.choices) or ("true|false" if each.kind is bool else "V")
    group.add_argument(*names, dest=each.name, nargs="*", metavar=metavar, help=_help(help_text, each.default))


def _owners_help(owners: Mapping[str, Parameter]) -> str:
    texts = {each.help for each in owners.values()}
    if len(texts) == 1:
        return f"{next(iter(texts))} ({', '.join(owners)})"
    return " ".join(f"`{name}`: {each.help}" for name, each in owners.items())


def _help(text: str, default: object) -> str:
    shown = "" if default is None or default is False or "Default:" in text else f" Default: {shortest(default)}."
    return (" ".join(text.split()) + ("" if default is True else shown)).replace("%", "%%")


def _first_sentence(part: type) -> str:
    return (part.__doc__ or "").partition("\n")[0].rstrip(".")


def _filled(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")).replace("%", "%%")


def _parse(parser: _Parser, arguments: Sequence[str]) -> dict[str, Any]:
    """Return what the words give, by name."""
    namespace, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise InputError(f"{unknown[0]} is no option{_hint(parser, unknown[0])}; --help lists all options.")
    return {name: _value(parser.options[name], words) for name, words in vars(namespace).items()}


def _value(option: Option | Parameter | None, words: Any) -> Any:
    if isinstance(option, Parameter):
        try:
            return parse_axis(option, words or (["true"] if option.kind is bool else []))
        except ParameterError as error:
            raise InputError(f"{flag(error.name)} {error.requirement}") from error
    if option is None:
        if words == []:
            raise InputError("--dataset, --architecture and --objective need one name or several.")
        return tuple(words) if isinstance(words, list) else words
    return words if option.kind is bool else option.parse(words if isinstance(words, list) else [words])


def _hint(parser: _Parser, word: str) -> str:
    flags = [name for action in parser._actions for name in action.option_strings]
    near = difflib.get_close_matches(word.partition("=")[0], flags, n=1) if word.startswith("-") else []
    return f"; did you mean {near[0]}?" if near else ""


def _base(given: Mapping[str, Any], *, gpus_found: int) -> Options:
    """Return the options that hold where none are given."""
    if given.get("resume"):
        with fetched(given["resume"], is_sweep_file) as mirror:
            record = read_record(mirror.local)
        check_extensions(record)
        options = options_from_dict(record.get("options", {}))
        return replace(options, origins=dict.fromkeys(_names(options), _origin("sweep")))
    preset: PresetName = given.get("preset") or _default_preset(given, gpus_found=gpus_found)
    values = PRESETS[preset]
    origins = {name: _origin("preset") for name in _names(values)}
    return replace(values, sweep=replace(values.sweep, preset=preset), origins=origins)


def _default_preset(given: Mapping[str, Any], *, gpus_found: int) -> PresetName:
    asked = given.get("num_gpus")
    on_gpus = (gpus_found > 0 or (given.get("address") and asked)) and asked != 0
    return "full" if on_gpus else "quick"


def _names(options: Options) -> list[str]:
    """Return the options that differ from their defaults."""
    defaults = Options()
    own = [
        name
        for group in GROUPS
        for name in options_of(type(getattr(options, group)))
        if getattr(getattr(options, group), name) != getattr(getattr(defaults, group), name)
    ]
    return [*own, *options.space.axes]


def _with_given(base: Options, given: Mapping[str, Any]) -> Options:
    groups = {group: _replaced(getattr(base, group), given) for group in GROUPS}
    axes: dict[str, Axis] = {
        name: value for name, value in given.items() if name != "seed" and name in (*PARTS, *parameters_by_name())
    }
    return replace(base, **groups, space=Space({**base.space.axes, **axes}))


def _replaced(group: T, given: Mapping[str, Any]) -> T:
    own = {name: given[name] for name in options_of(type(group)) if name in given}
    return replace(group, **own)  # type: ignore[type-var]


def _check_owned(space: Space, name: str) -> None:
    try:
        check_owned(space, name)
    except ParameterError as error:
        raise InputError(f"{flag(error.name)} {error.requirement}") from error


def _resolved(space: Space) -> Space:
    try:
        return space.resolved()
    except ParameterError as error:
        raise InputError(f"{flag(error.name)} {error.requirement}") from error


def _origin(origin: Origin) -> Origin:
    return origin

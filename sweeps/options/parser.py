"""The parsers of the commands: their options, their help, and the value that each word stands for."""

from __future__ import annotations

import argparse
import difflib
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from betavae.config import PARTS, parameters_by_name
from betavae.errors import InputError
from betavae.parts import Parameter, field_of_part, parameters_of, split_field
from betavae.schedules import number_text
from sweeps.invocation import Command, words_of_command
from sweeps.options.fields import Option, errors_naming_flags, flag, options_of
from sweeps.options.options import GROUPS, AnalysisOptions, Options, ReportOptions
from sweeps.search.space import parameter_of_axis, parse_axis, value_text

POSITIONAL = "folder"
_USAGE: Mapping[Command, str] = {"betavae-sweep": "[OPTION ...]", "betavae-analyze": "FOLDER [OPTION ...]"}

_AXES = "Give one value, several values (--beta 1 4 16) or, for numbers, a range (--beta 1..32)."
_PART_AXES = (
    f"{_AXES} With the name of a part before the option, the values are for that part alone (--beta-tcvae.beta 1 4)."
)


class Parser(argparse.ArgumentParser):
    """A parser whose namespace holds only given options, and which raises InputError."""

    def __init__(self, command: Command, kind: type) -> None:
        super().__init__(
            usage=f"{' '.join(words_of_command(command))} {_USAGE[command]}",
            description=_filled(kind.__doc__ or ""),
            formatter_class=_Help,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        self.options: dict[str, Option | Parameter | None] = {POSITIONAL: None}

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


def sweep_parser() -> Parser:
    """Return the parser of `run.py`, which takes every option of a sweep and every parameter of a trial."""
    parser = Parser("betavae-sweep", Options)
    for group in GROUPS:
        defaults = getattr(Options(), group)
        _add_group(parser, _title(type(defaults)), options_of(type(defaults)), defaults)
    _add_parameters(parser)
    return parser


def analysis_parser() -> Parser:
    """Return the parser of `analyze.py`."""
    parser = Parser("betavae-analyze", AnalysisOptions)
    parser.add_argument(POSITIONAL, metavar="FOLDER", help="The sweep's folder, `results/NAME`, or its URL.")
    _add_group(parser, "The output", options_of(AnalysisOptions), AnalysisOptions(folder=""))
    _add_group(parser, "The content", options_of(ReportOptions), ReportOptions())
    return parser


def _title(kind: type) -> str:
    return (kind.__doc__ or "").partition(":")[0]


def _add_group(parser: Parser, title: str, options: Mapping[str, Option], defaults: Any) -> None:
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


def _add_parameters(parser: Parser) -> None:
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


def _add_parameter(parser: Parser, group: Any, parameter: Parameter, help_text: str) -> None:
    parser.options[parameter.name] = parameter
    flags = ([f"-{parameter.limits.letter}"] if parameter.limits.letter else []) + [flag(parameter.name)]
    metavar = "|".join(parameter.choices) or ("true|false" if parameter.kind is bool else "V")
    if parameter.is_weight:
        first, last = number_text(parameter.default), number_text(parameter.default / 4)
        help_text += f" A value may change over training, in lines between points: {first}@0,{last}@2000."
    help_text = _help(help_text, parameter.default)
    group.add_argument(*flags, dest=parameter.name, nargs="*", metavar=metavar, help=help_text)


def _add_part_axis(parser: Parser, group: Any, name: str) -> None:
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


def parse_words(parser: Parser, words: Sequence[str]) -> dict[str, Any]:
    """Return the values of the given options, by name.

    Raises:
        SystemExit: With 0, for `--help`.
        InputError: If a word is not an option or not a value of its option.
    """
    namespace, unknown_words = parser.parse_known_args(list(words))
    if unknown_words:
        _check_part(unknown_words[0])
        hint = _hint(parser, unknown_words[0])
        raise InputError(f"{unknown_words[0]} is not an option{hint}; --help lists all options.")
    return {name: _value(parser.options[name], given) for name, given in vars(namespace).items()}


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


def _hint(parser: Parser, word: str) -> str:
    flags = [name for action in parser._actions for name in action.option_strings]
    similar_flags = difflib.get_close_matches(word.partition("=")[0], flags, n=1) if word.startswith("-") else []
    return f" (did you mean {similar_flags[0]}?)" if similar_flags else ""

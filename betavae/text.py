"""Text from files, made safe for where it is shown: a terminal, a spreadsheet, a Markdown page."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that a terminal acts on instead of showing them: controls, directions, surrogates, line ends."""

_FORMULA_SIGNS = ("=", "+", "-", "\N{MINUS SIGN}", "@")
_QUOTES = {"Pi", "Pf"}
"""Unicode categories of opening and closing quotes."""

_MARKUP = re.compile(r"[&<>`|\[\]\\*_~!#@^${}]|:(?=\S)|(?<=\bwww)\.", re.IGNORECASE)
"""What Markdown, its usual extensions and HTML read as markup; `https:` and `www.` are links by themselves."""


def printable(text: str) -> str:
    r"""Return the text with every control character but newline and tab written out, such as `\x1b`.

    Controls are C0, DEL and C1; so are Unicode's directions (which make a line read as another), invisible
    characters, line separators and unpaired surrogates (which cannot be printed at all).
    """
    return "".join(character if character in "\n\t" else _written_out(character) for character in text)


def one_line(text: str) -> str:
    r"""Return the text as `printable` does, with newlines and tabs written out too, as `\n` and `\t`."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def spreadsheet_cell(text: str) -> str:
    """Return the text with an apostrophe in front if a spreadsheet would take it for a formula.

    Spaces, quotes and invisible characters before the sign do not hide it, nor does a full-width form of the sign.

    Source:
        OWASP, CSV Injection.
    """
    first = next((character for character in text if not _is_padding(character)), "")
    is_formula = unicodedata.normalize("NFKC", first).startswith(_FORMULA_SIGNS)
    return f"'{text}" if is_formula or text.startswith(("\t", "\r", "\n")) else text


def markdown(text: str) -> str:
    """Return the text as Markdown that shows it on one line, with no markup: no HTML, link, code span or table cell."""
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", one_line(text))


def _is_padding(character: str) -> bool:
    """Whether a spreadsheet may overlook it at the start of a cell."""
    return character.isspace() or character in "\"'`" or unicodedata.category(character) in _HIDDEN | _QUOTES


def _written_out(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode()

"""Make text from files safe to show on a terminal, in a spreadsheet or on a Markdown page."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that a terminal obeys instead of showing: controls, directions, surrogates, line ends."""

_FORMULA_SIGNS = ("=", "+", "-", "\N{MINUS SIGN}", "@")
_QUOTES = {"Pi", "Pf"}
"""Unicode categories of opening and closing quotes."""

_MARKUP = re.compile(r"[&<>`|\[\]\\*_~!#@^${}]|:(?=\S)|(?<=\bwww)\.", re.IGNORECASE)
"""Markup of Markdown, its usual extensions and HTML; `https:` and `www.` begin links without any."""


def printable(text: str) -> str:
    r"""Return text with every control character but newline and tab as an escape sequence, such as `\x1b`.

    Controls are C0, DEL and C1, Unicode's directions (which make a line read as another), invisible characters,
    line separators and unpaired surrogates (which cannot be printed).
    """
    return "".join(character if character in "\n\t" else _written_out(character) for character in text)


def one_line(text: str) -> str:
    r"""Return the text of `printable`, with newlines and tabs as `\n` and `\t` too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def spreadsheet_cell(text: str) -> str:
    """Return text with an apostrophe in front if a spreadsheet would read it as a formula.

    Spaces, quotes and invisible characters before a formula's sign, and full-width signs, are recognised.

    Source:
        OWASP, CSV Injection.
    """
    first = next((character for character in text if not _is_padding(character)), "")
    is_formula = unicodedata.normalize("NFKC", first).startswith(_FORMULA_SIGNS)
    return f"'{text}" if is_formula or text.startswith(("\t", "\r", "\n")) else text


def markdown(text: str) -> str:
    """Return Markdown that shows the text on one line as it is: without HTML, links, code spans or table cells."""
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", one_line(text))


def _is_padding(character: str) -> bool:
    """Return whether a spreadsheet may ignore a character at the start of a cell."""
    return character.isspace() or character in "\"'`" or unicodedata.category(character) in _HIDDEN | _QUOTES


def _written_out(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode()

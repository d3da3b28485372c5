import pytest
from markdown_it import MarkdownIt

from betavae.text import markdown, one_line, printable, spreadsheet_cell


@pytest.mark.parametrize(
    "control",
    ["\x00", "\x07", "\x1b", "\r", "\x0b", "\x7f", "\x9b", "\x85", "\u202e", "\u2066", "\u200b", "\u2028", "\udc80"],
)
def test_what_a_terminal_would_obey_is_written_out(control: str) -> None:
    shown = printable(f"a{control}[31mb")
    assert shown.isprintable()
    assert shown == f"a{control.encode('unicode_escape').decode()}[31mb"
    shown.encode()


def test_words_of_any_language_newlines_and_tabs_stay() -> None:
    text = "Größe 日本 ±0.5 →\n\tb"
    assert printable(text) == text
    assert one_line(text) == "Größe 日本 ±0.5 →\\n\\tb"


@pytest.mark.parametrize("padding", ["", "  ", '"', "'", " \"'", "\t", "\xa0", "\ufeff", "\u200b", "\x00", "“"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "−"])
def test_no_cell_is_a_formula(padding: str, sign: str) -> None:
    text = f"{padding}{sign}HYPERLINK(1)"
    assert spreadsheet_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "0000", "beta-vae", "a = b", "  spaces", "OSError: [Errno 28] =1"])
def test_other_cells_stay(text: str) -> None:
    assert spreadsheet_cell(text) == text


@pytest.mark.parametrize("start", ["\t", "\r", "\n"])
def test_a_cell_that_starts_with_a_tab_or_a_line_end_is_text(start: str) -> None:
    assert spreadsheet_cell(f"{start}x").startswith("'")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[a](javascript:alert(1)) ![b](https://example.org/x.png)",
        "`code` `` and ``` fences",
        "a | b || c \\| d",
        "line\n\n# heading\r\n- list\u2028x",
        "*em* __strong__ ~~gone~~ <https://example.org> &lt;b&gt; &#60;b&#62;",
    ],
)
def test_markdown_shows_the_text_and_reads_no_markup(text: str) -> None:
    """Read by another library: the cell's only content is the text itself, and the table's row has its two cells."""
    page = f"| | |\n|---|---|\n| key | {markdown(text)} |\n"
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(page)
    inline = [token for token in tokens if token.type == "inline"]
    assert len(inline) == 4  # two headers, two cells
    assert {child.type for child in inline[-1].children or []} <= {"text", "text_special"}
    assert "".join(child.content for child in inline[-1].children or []) == one_line(text)

"""Every kind of block in both forms: nothing lost, nothing that escapes from its place."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compare.analysis import analyse
from compare.analysis.blocks import (
    Badge,
    Block,
    Bold,
    Callout,
    Code,
    Figures,
    Fold,
    Heading,
    Inline,
    Listing,
    Mark,
    Number,
    Prose,
    Table,
    figures_of,
)
from compare.analysis.drawing import Figure
from compare.report import page
from compare.report.basis import Basis
from compare.report.render import code_text, environment, markdown_text, number_in
from compare.store.evidence import Evidence, Trouble
from tests.compare.planted import scaling
from tests.compare.reading import visible

CELLS = scaling.plan(seeds=1)[:3]
EVIDENCE = Evidence(manifest=scaling.manifest(CELLS), runs=(), troubles=())
FIRST = CELLS[0].cell
EVIL = "<script>alert('x')</script> | a_b*\n# not a heading"


def forms(*blocks: Block, others: tuple[str, ...] = ()) -> tuple[str, str]:
    """As HTML and as Markdown."""
    out = []
    for form in ("html", "md"):
        html = form == "html"
        basis, second = (Basis(EVIDENCE, letter, html=html) for letter in "RS")
        template = environment(html=html).get_template(f"section.{form}.j2")
        columns = dict.fromkeys(others, second)
        out.append(str(template.module.blocks(blocks, basis, columns)))  # type: ignore[attr-defined]
    return out[0], out[1]


def figure(records: tuple[str, ...] = (FIRST,)) -> Figure:
    return Figure(name="f", title="A title", caption="What it shows.", svg="<svg><g/></svg>", records=records)


def finding(verdict: str = "ahead") -> Any:
    return SimpleNamespace(verdict=verdict)


def table(*row: Inline, **more: Any) -> Table:
    return Table(label="Label", columns=tuple("abcdefgh"[: len(row)]), rows=(row,), **more)


def test_a_section_has_an_anchor_and_other_headings_have_none() -> None:
    html, markdown = forms(Heading(text="One & all", level=2, anchor="one"), Heading(text="Two"))
    assert '<h2 id="one">One &amp; all</h2>' in html
    assert "<h3>Two</h3>" in html
    assert re.findall(r"^#+ .*$", markdown, re.MULTILINE) == ["## One &amp; all", "### Two"]


def test_text_may_hold_pieces_and_pieces_within_pieces() -> None:
    text = ("From ", (3, " to ", Bold("a<b")), ": ", Code("x_1"), Code(("a", Bold("b"))), ".")
    html, markdown = forms(Prose(text=text, soft=True))
    assert '<p class="soft">From 3 to <b>a&lt;b</b>: <code>x_1</code><code>a<b>b</b></code>.</p>' in html
    assert markdown.strip() == "From 3 to **a&lt;b**: `x_1`a**b**."


def test_a_mark_leads_to_its_cells_and_without_any_is_plain_text() -> None:
    html, markdown = forms(Listing(items=(Mark("n|1", (FIRST,)), Mark(2, ()), Mark(3, (FIRST,)))))
    assert '<li><a class="rests" href="#R1" aria-label="n|1: rests on 1 cell, R1">n|1</a></li>' in html
    assert "<li>2</li>" in html
    assert html.count('href="#R1"') == 2
    assert "- n\\|1 (R1)\n- 2\n- 3 (R1)\n" in markdown


def test_a_callout_shows_its_grounds_only_where_it_has_some() -> None:
    html, markdown = forms(
        Callout(question="Is it so?", answer="Yes.", grounds=("one", "two")),
        Callout(question="And?", answer="No."),
    )
    assert "<b>Is it so?</b> Yes." in html
    assert html.count("<details>") == html.count("</details>") == 1
    assert "What this rests on (2)" in html
    assert "**Is it so?** Yes.\n\n- one\n- two\n" in markdown
    assert "**And?** No." in markdown


def test_a_table_sorts_by_numbers_marks_verdicts_and_tells_running_text() -> None:
    row = (Badge(finding()), Number("1.2e9", 1.2e9), Number("–", None), ("x ", Number("−3", -3.0)), "words")
    html, markdown = forms(table(*row, caption=("Of ", Code("c")), wrap=("e",)))
    assert '<span class="badge ahead">▲ ahead</span>' in html
    assert (
        '<td data-value="1200000000.0">1.2e9</td><td data-value="">–</td><td data-value="-3.0">x −3</td>'
        in html
    )
    assert '<td class="wrap">words</td>' in html
    assert '<table class="sortable">\n<caption>Of <code>c</code></caption>' in html
    assert 'role="region" aria-label="Label"' in html
    assert markdown.strip() == (
        "Of `c`\n\n| a | b | c | d | e |\n|---|---|---|---|---|\n| ▲ ahead | 1.2e9 | – | x −3 | words |"
    )


def test_cards_name_their_cells_and_hold_several_pieces_together() -> None:
    html, _ = forms(table("x", ("1 of 2 ", Bold("chosen")), cards=True, sortable=False))
    assert '<table class=" cards">' in html
    assert '<td data-label="a">x</td><td data-label="b"><span>1 of 2 <b>chosen</b></span></td>' in html


def test_a_column_of_another_study_has_marks_of_its_own() -> None:
    html, markdown = forms(table(Mark(1, (FIRST,)), Mark(1, (FIRST,))), others=("b",))
    assert re.findall(r'href="#(\w+)"', html) == ["R1", "S1"]
    assert "| 1 (R1) | 1 (S1) |" in markdown


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 for 2 columns"):
        Table(label="t", columns=("a", "b"), rows=(("x",),))


def test_figures_lie_beside_each_other_or_at_full_width() -> None:
    html, markdown = forms(Figures(figures=(figure(),)), Figures(figures=(figure(),), wide=True))
    assert html.count('<div class="figures">') == html.count('<div class="wide">') == 1
    assert '<figure id="figure-f"><svg><g/></svg><figcaption><b>A title.</b> What it shows. From <a ' in html
    assert ">1 cell</a>.</figcaption>" in html
    assert "![A title](figures/f.svg)\n\n**A title.** What it shows. From 1 cell (R1).\n" in markdown


def test_a_fold_holds_blocks_and_its_figures_are_not_forgotten() -> None:
    inside = (Prose(text="within"), Fold(summary="Deeper", blocks=(Figures(figures=(figure(),)),)))
    fold = Fold(summary="More", blocks=inside, open=True)
    html, markdown = forms(fold)
    assert "<details open><summary>More</summary>" in html
    assert "<details><summary>Deeper</summary>" in html
    assert html.count("</details>") == 2
    assert [line for line in markdown.splitlines() if line][:3] == ["More:", "within", "Deeper:"]
    assert [f.name for f in figures_of([fold])] == ["f"]


EVERYWHERE: list[Block] = [
    Heading(text=EVIL, level=2),
    Prose(text=(EVIL, Bold(EVIL), Mark(EVIL, (FIRST,)), Number(EVIL, 1.0), Code((EVIL,)))),
    Listing(items=(EVIL,)),
    Callout(question=EVIL, answer=EVIL, grounds=(EVIL,)),
    Table(label=EVIL, columns=(EVIL,), rows=((EVIL,),), caption=EVIL, cards=True),
    Figures(figures=(Figure(name="f", title=EVIL, caption=EVIL, svg="<svg/>", records=(FIRST,)),)),
    Fold(summary=EVIL, blocks=(Prose(text=EVIL),)),
]


@pytest.mark.parametrize("block", EVERYWHERE, ids=lambda block: block.kind)
def test_a_malicious_text_stays_text(block: Block) -> None:
    html, markdown = forms(block)
    assert "<script" not in html
    assert "<script" not in markdown
    assert "alert('x')" in visible(html)
    # No line of Markdown begins what the text alone would have begun, and a table keeps its columns.
    headings = [line for line in markdown.splitlines() if line.startswith("#")]
    assert len(headings) == isinstance(block, Heading)
    for line in markdown.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 2


def test_markdown_text_cannot_break_out() -> None:
    assert markdown_text("a|b\n<i>*x*`") == r"a\|b &lt;i&gt;\*x\*\`"
    assert code_text("a_b") == "`a_b`"
    assert code_text("a|b\n``c`") == "``` a\\|b ``c` ```"
    assert code_text("") == ""


def test_a_number_is_found_within_pieces() -> None:
    number = Number("1", 1.0)
    assert number_in(("a", ("b", number))) is number
    assert number_in(("a", Bold("b"))) is None
    assert number_in("1") is None


def test_the_page_stands_without_any_analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (analyse, page):
        monkeypatch.setattr(module, "analyses", dict)
    missing = tuple(Trouble(planned=cell, kind="missing", reason="none") for cell in CELLS)
    bare = replace(EVIDENCE.manifest, contrasts=())
    path = page.write(Evidence(manifest=bare, runs=(), troubles=missing), tmp_path)
    assert "All findings" in path.read_text(encoding="utf-8")

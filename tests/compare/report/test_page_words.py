"""What the words of a page mean stands on the page, in both forms."""

from pathlib import Path

from compare.analysis import drawing
from compare.analysis.base import Results
from compare.folders import conf_folder
from compare.report import glossary
from compare.report.render import markdown_text
from tests.compare.planted import scaling
from tests.compare.reading import visible

PLANTED, NAME = scaling, "scaling"


def test_arms_are_told_by_their_files_and_efforts_only_where_they_occur() -> None:
    plan = scaling.manifest(scaling.plan())
    words = dict(glossary.entries(plan, ["greedy", "think_2", "majority@4"], conf_folder()))
    assert words["ebt_s1"].startswith("The published recipe S1")
    assert words["addition (task)"] == "Answers only: the sum's digits, no working."
    assert {"greedy", "think_K", "majority@K"} <= words.keys()
    assert not {"think_KxR", "likelihood@K", "oracle@K", "unmask_K"} & words.keys()
    assert all(words.values())
    assert glossary.TERMS.items() <= words.items()


def test_a_file_without_a_comment_a_missing_one_and_a_path_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text("name: plain\n# not at the top\n")
    (tmp_path / "two.yaml").write_text("# One,\n#   and two.\nname: two\n")
    assert glossary.comment(tmp_path / "plain.yaml") == ""
    assert glossary.comment(tmp_path / "absent.yaml") == ""
    assert glossary.comment(tmp_path / "two.yaml") == "One, and two."
    plan = scaling.manifest(tuple(scaling.plan()[:1]))
    assert not dict(glossary.entries(plan, [], tmp_path)).keys() - glossary.TERMS.keys()


def test_a_page_explains_its_words_and_leads_to_its_sections(
    results: Results, page: str, markdown: str
) -> None:
    text = visible(page)
    for word, said in glossary.TERMS.items():
        assert said in text, word
        assert markdown_text(said) in markdown, word
    navigation = page[page.index("<nav") : page.index("</nav>")]
    for anchor in ("answer", "figures", "findings", "words", "cells"):
        assert f'<a href="#{anchor}">' in navigation
        assert page.count(f'<h2 id="{anchor}">') == 1
    primary = [f for f in results.findings if f.primary]
    ahead = sum(f.verdict == "ahead" for f in primary)
    tally = f"Of {len(primary)} contrasts named beforehand: {ahead} ahead, "
    assert ahead > 0
    assert tally in text
    assert tally in markdown


def test_a_wide_figure_keeps_its_width_on_a_narrow_screen() -> None:
    def drawn(width: str) -> str:
        return drawing._accessible(f'<svg viewBox="0 0 {width} 200"><g/></svg>', "f", "Title", "Words")

    assert 'style="min-width: 539px"' in drawn("538.56")
    assert "min-width" not in drawn("360")

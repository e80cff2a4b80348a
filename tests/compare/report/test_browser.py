"""A report in a real browser: it shows, fits a phone, goes dark, prints, sorts, and leads to records."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compare.calibrate import builders
from compare.report import build
from compare.report.diff import diff
from tests.compare.planted import ceiling, scaling, tokens, whole
from tests.compare.report.browser import PROGRAM, Page, browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no chromium on PATH (Debian: apt-get install chromium)"),
]

PHONE = {"width": 360, "height": 780}
"""The narrowest that is common."""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    main = scaling.store(folder / "main")
    ceiling.store(folder / "ceiling")
    tokens.store(folder / "anatomy")
    whole.store(folder / "whole")
    return {
        "scaling": build(main, "scaling"),
        "ceiling": build(folder / "ceiling", "ceiling"),
        "anatomy": build(folder / "anatomy", "anatomy"),
        "whole": build(folder / "whole", "whole"),
        "diff": diff((main, "scaling"), (main, "scaling"), folder / "diff"),
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one.page()


@pytest.fixture(autouse=True)
def _quiet(page: Page) -> Iterator[None]:
    page.complaints.clear()
    yield
    assert page.complaints == []


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=float)


NAMES = ("scaling", "ceiling", "anatomy", "whole", "diff")


@pytest.mark.parametrize("name", NAMES)
def test_a_wide_screen_shows_ink_on_light_paper(page: Page, reports, tmp_path: Path, name: str) -> None:
    page.open(reports[name])
    shown = pixels(page.picture(tmp_path / "wide.png"))
    assert shown.std() > 10
    assert np.median(shown) > 230
    assert page.run("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("name", NAMES)
def test_a_phone_scrolls_down_only(page: Page, reports, tmp_path: Path, name: str) -> None:
    page.open(reports[name], **PHONE)
    assert page.run("innerWidth") == PHONE["width"]
    broad = page.run("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    assert broad <= PHONE["width"]
    # What is wider lies in a box of its own that scrolls sideways and can be reached by key.
    wide = (
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth)"
    )
    assert page.run(f"{wide}.every(e => e.closest('.scroll') || e.closest('svg'))")
    boxes = "[...document.querySelectorAll('.scroll')]"
    assert page.run(f"{boxes}.every(e => e.tabIndex === 0 || e.scrollWidth <= e.clientWidth)")
    assert pixels(page.picture(tmp_path / "phone.png")).std() > 10


@pytest.mark.parametrize("size", [{}, PHONE], ids=["wide", "phone"])
def test_dark_mode_is_dark_and_has_contrast(page: Page, reports, tmp_path: Path, size: dict) -> None:
    page.open(reports["scaling"], dark=True, **size)
    shown = pixels(page.picture(tmp_path / "dark.png"))
    assert np.median(shown) < 60
    assert shown.max() > 200


CONTRAST = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => c.slice(0, 3).map((x) => x / 255)
    .map((x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = (e) => {
    for (let up = e; up; up = up.parentElement) {
      const c = rgb(getComputedStyle(up).backgroundColor);
      if (c[3] === 255) return c;
    }
    return [255, 255, 255, 255];
  };
  const texts = [...document.querySelectorAll('main *, header *')].filter(
    (e) => !e.closest('svg') && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  return texts.map((e) => {
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(paper(e))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }).reduce((least, x) => Math.min(least, x), 99);
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(page: Page, reports, dark: bool) -> None:
    page.open(reports["scaling"], dark=dark)
    assert page.run(CONTRAST) >= 4.5


def test_it_prints_on_several_sheets_with_the_closed_parts_open(page: Page, reports, tmp_path: Path) -> None:
    page.open(reports["scaling"])
    paper = page.printed(tmp_path / "print.pdf")
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") + paper.count(b"/Type/Page/") >= 3


COLUMN = """
(() => {{
  const table = [...document.querySelectorAll('table')].find((t) =>
    t.closest('[aria-label]')?.getAttribute('aria-label') === '{label}');
  const heads = [...table.tHead.rows[0].cells];
  const column = heads.findIndex((th) => th.textContent.startsWith('{head}'));
  const head = heads[column];
  {then};
  const texts = [...table.tBodies[0].rows].map((row) => row.cells[column]?.textContent ?? "");
  return [head.getAttribute('aria-sort'), texts];
}})()
"""


def column(page: Page, label: str, head: str, then: str = "") -> tuple[str | None, list[str]]:
    """How a table's column is sorted, and its texts; `then` is run first, with `head` the heading."""
    order, texts = page.run(COLUMN.format(label=label, head=head, then=then))
    return order, texts


def value(text: str) -> float:
    return float(text.replace("\u2212", "-").split()[0].rstrip("×").lstrip("<") or "0")


WAIT = "new Promise((done) => setTimeout(done, 500))"
CLICK = "head.querySelector('button').click()"


def test_a_column_sorts_by_value_up_down_and_back(page: Page, reports) -> None:
    page.open(reports["scaling"])
    table = ("Exploratory findings", "estimate")
    order, original = column(page, *table)
    assert order is None
    up, rising = column(page, *table, then=CLICK)
    down, falling = column(page, *table, then=CLICK)
    back, again = column(page, *table, then=CLICK)
    assert (up, down, back) == ("ascending", "descending", None)
    # A sort by text would put +0.0550 before −0.1706.
    assert [value(t) for t in rising] == sorted(value(t) for t in original)
    assert rising != original
    assert [value(t) for t in falling] == sorted((value(t) for t in original), reverse=True)
    assert again == original


def test_budgets_times_and_words_sort_as_what_they_are_and_gaps_come_last(page: Page, reports) -> None:
    page.open(reports["scaling"])
    _, budgets = column(page, "Cells", "budget", then=CLICK)
    assert [float(b) for b in budgets] == sorted(float(b) for b in budgets)
    _, arms = column(page, "Cells", "arm", then=CLICK)
    assert arms == sorted(arms)
    _, spent = column(page, "Cells", "FLOPs spent", then=CLICK)
    known = [float(t) for t in spent if t and t != "–" and t[0].isdigit()]
    assert known == sorted(known)
    assert all(t[0].isdigit() for t in spent[: len(known)])


def test_the_heading_is_a_button_for_the_keyboard(page: Page, reports) -> None:
    page.open(reports["scaling"])
    _, original = column(page, "Primary findings", "estimate", then="head.querySelector('button').focus()")
    page.key("Enter", 13, "\r")
    order, now = column(page, "Primary findings", "estimate")
    assert order == "ascending"
    assert [value(t) for t in now] == sorted(value(t) for t in original)
    assert page.run("document.activeElement.tagName") == "BUTTON"


def test_a_number_leads_to_its_cells_and_a_cell_to_its_record(page: Page, reports) -> None:
    page.open(reports["scaling"])
    top = "e.getBoundingClientRect().top"
    shown = f"(e) => e.checkVisibility() && {top} >= 0 && {top} < innerHeight"
    page.run("document.querySelector('.answer a.rests').click()")
    page.run(WAIT)
    assert page.run("location.hash") == "#R1"
    assert page.run(f"({shown})(document.getElementById('R1'))")
    page.run("document.querySelector('#R1 a').click()")
    page.run(WAIT)
    row = "document.getElementById(location.hash.slice(1))"
    assert page.run(f"{row}.tagName") == "TR"
    assert page.run(f"({shown})({row})")
    record = page.run(f"{row}.querySelector('a').href")
    page.call("Page.navigate", url=record)
    page.run(WAIT)
    assert '"cell":' in page.run("document.body.textContent")


def test_without_its_script_the_page_is_whole(page: Page, reports) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(reports["scaling"])
        assert page.run("document.querySelectorAll('th button').length") == 0
        assert page.run("document.querySelectorAll('table').length") > 5
        assert page.run("document.body.innerText.includes('ebt_s1 is ahead of transformer')")
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)


def test_nothing_but_the_page_s_own_script_runs(page: Page, reports, tmp_path: Path) -> None:
    """The policy in the head stops what a doctored record might have smuggled in."""
    folder = reports["scaling"].parent
    smuggled = folder / "smuggled.html"
    text = reports["scaling"].read_text()
    smuggled.write_text(text.replace("</main>", "<script>window.harm = 1</script></main>"))
    page.open(smuggled)
    assert page.run("window.harm") is None
    assert any("Content Security Policy" in line for line in page.complaints)
    page.complaints.clear()


def test_five_hundred_cells_stay_quick(page: Page, tmp_path: Path) -> None:
    from compare.store import manifest

    cells = scaling.plan(seeds=15)
    manifest.dump(tmp_path, scaling.manifest(cells))
    rng = np.random.default_rng(0)
    for cell in cells:
        builders.write(tmp_path, scaling.finished(cell, rng))
    path = build(tmp_path, "scaling")
    assert path.stat().st_size < 1.5e6
    page.open(path)
    took = page.run(
        "(() => { const t = performance.now();"
        " document.querySelector('[aria-label=Cells] th button').click();"
        " document.body.offsetHeight; return performance.now() - t; })()"
    )
    assert took < 2000  # milliseconds; some twenty on a quiet machine

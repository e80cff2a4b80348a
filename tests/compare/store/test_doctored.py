"""What was changed or cut in a store is found and named; what is private stays out of what is kept."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare.calibrate import builders
from compare.report.__main__ import main
from compare.store import manifest, redaction
from compare.store import record as records
from compare.store.redaction import scrub
from tests.compare.planted import scaling
from tests.compare.reading import visible

LOSS = re.compile(r'("metric": "loss",\s+"value": )(\d)')


def changed_number(text: str) -> str:
    """A loss that is a nat better, as a hand would write it."""
    return LOSS.sub(lambda found: f"{found.group(1)}{int(found.group(2)) - 1}", text, count=1)


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        raw = json.loads(text)
        change(raw)
        return json.dumps(raw, indent=1)

    return edit


DOCTORED = {
    "changed number": (changed_number, "does not match its digest"),
    "better answers": (
        edited(lambda raw: raw["history"]["loss"].__setitem__(3, 0.5)),
        "does not match its digest",
    ),
    "missing field": (edited(lambda raw: raw.pop("steps")), "field steps is missing"),
    "unknown version": (edited(lambda raw: raw.update(version=7)), "record version 7, this program reads 1"),
    "truncated file": (lambda text: text[: len(text) // 2], "not a readable record"),
}


@pytest.mark.parametrize("case", DOCTORED)
def test_a_doctored_record_is_found_named_and_left_out(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor, message = DOCTORED[case]
    store = scaling.store(tmp_path, seeds=2, trouble=False)
    cell = manifest.load(store, "scaling").cells[-1].cell
    path = store / "cells" / cell / "record.json"
    before = path.read_text()
    path.write_text(doctor(before))
    assert path.read_text() != before
    assert main([str(store)]) == 0
    captured = capsys.readouterr()
    named = [line for line in captured.err.splitlines() if cell in line]
    assert len(named) == 1
    assert message in named[0]
    text = visible(Path(captured.out.splitlines()[-1]).read_text())
    markdown = (store / "reports/scaling/report.md").read_text().replace("\\", "")
    for said in (text, markdown):
        assert "69 of 70 planned cells are done, 1 unreadable" in said
        assert message in said
        assert cell in said
    # The rest is reported: every headline but those that need this very cell is measured.
    assert text.count("95% interval [") >= 4
    assert str(tmp_path) not in captured.err


def test_layout_is_no_content(tmp_path: Path) -> None:
    """Another order of keys or another indent is the same record."""
    store = scaling.store(tmp_path, seeds=1, trouble=False)
    path = next(iter(sorted((store / "cells").glob("*/record.json"))))
    whole = records.load(path)
    assert len(whole.digest) == 64
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(raw.items()))))
    assert records.load(path) == whole
    assert records.dump(records.load(path)) == records.dump(whole)


def test_records_older_than_digests_count_and_are_said_to_be_unsigned(tmp_path: Path) -> None:
    store = scaling.store(tmp_path, seeds=1, trouble=False)
    paths = sorted((store / "cells").glob("*/record.json"))
    for path in paths[:3]:
        path.write_text(edited(lambda raw: raw.pop("digest"))(path.read_text()))
    assert records.load(paths[0]).digest == ""
    assert main([str(store)]) == 0
    text = visible((store / "reports/scaling/index.html").read_text())
    assert "35 of 35 planned cells are done" in text
    assert "3 of 35 records carry no digest" in text


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Somebody's account on somebody's machine."""
    home = tmp_path / "home" / "mallory"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for key in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(key, "mallory")
    monkeypatch.setenv("WANDB_API_KEY", "f00dfacef00dfacef00dface")
    monkeypatch.setattr(redaction.socket, "gethostname", lambda: "workhorse.example.org")
    return {
        "home": str(home),
        "folder": str(tmp_path),
        "user": "mallory",
        "machine": "workhorse",
        "secret": "f00dfacef00dfacef00dface",
    }


def test_no_secret_user_or_path_is_in_a_record_or_a_report(private, tmp_path: Path, capsys) -> None:
    home = private["home"]
    store = scaling.store(tmp_path / "store", seeds=1, trouble=False)
    plan = manifest.load(store, "scaling")
    one, two, three = plan.cells[:3]
    reason = f"PermissionError: {home}/data/corpus.txt of mallory@workhorse.example.org"
    trace = (
        f'Traceback:\n  File "{home}/ebt-arena/arena/data.py", line 3, in read\n'
        f'  File "{home}/x.py", line 1\n  File "/opt/mallory/lib/y.py"\nkey={private["secret"]}, ~/data/z, '
        f"user mallory on workhorse"
    )
    builders.write(store, scaling.record(one, (), status="failed", reason=reason, traceback=trace))
    rng = np.random.default_rng(0)
    environment = {"python": "3.12", "note": f"{home}/venv", "token": private["secret"]}
    config = {"arm": {"name": two.arm, "from": f"{home}/models/tiny", "url": f"x:{private['secret']}@y"}}
    builders.write(store, replace(scaling.finished(two, rng), environment=environment, config=config))
    (store / "cells" / three.cell / "record.json").write_text(f'{{"{home}')
    command = f"python -m compare +experiment=scaling runs={home}/runs task.path={home}/corpus"
    manifest.dump(store, replace(plan, command=redaction.redact(command)))
    copy = tmp_path / "copy"
    assert main([str(store)]) == 0
    assert main([str(store), f"out={copy}"]) == 0
    assert main(["--diff", str(store), str(store), f"out={tmp_path / 'diff'}"]) == 0
    kept = [
        *(path for path in store.glob("cells/*/record.json") if three.cell not in str(path)),
        *store.glob("reports/**/*.*"),
        *copy.glob("reports/**/*.*"),
        *copy.glob("experiments/*"),
        *(tmp_path / "diff").glob("**/*.*"),
    ]
    assert len(kept) > 40
    for path in kept:
        text = path.read_text()
        for what, value in private.items():
            assert value not in text, f"{what} in {path.name}"
        assert not re.search(r"(?<![\w.:/<])/(?:home|root|opt|tmp|Users)/", text), path.name
    record = records.load(store / "cells" / one.cell / "record.json")
    # What helps stays.
    assert "ebt-arena/arena/data.py" in record.traceback or "arena/data.py" in record.traceback
    assert record.reason.startswith("PermissionError")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{home}/x.py", "x.py"),
        ("at {home}/a/b/c/d.py, line 3", "at b/c/d.py, line 3"),
        ("{user} has no right", "[user] has no right"),
        ("on {machine}.example.org and {machine}", "on [machine] and [machine]"),
        ("mallory_1 and mallorys and un-mallory", "mallory_1 and mallorys and un-mallory"),
        ("1/2 of 3/4, a/b", "1/2 of 3/4, a/b"),
    ],
)
def test_scrubbing_takes_names_and_places_and_leaves_words(private, text: str, said: str) -> None:
    given = text.format(**private)
    assert scrub(given) == said
    assert scrub(scrub(given)) == said


def test_root_is_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "root")
    assert scrub("root mean square") == "root mean square"


@pytest.mark.parametrize(
    ("text", "scrubbed", "cut"),
    [
        ("at /srv/a/b/c/d.py, line 3", "at b/c/d.py, line 3", "at …/d.py, line 3"),
        ("C:\\Users\\me\\x.py", "Users/me/x.py", "…/x.py"),
        ("https://host/a/b and 3/4", "https://host/a/b and 3/4", "https://host/a/b and 3/4"),
        (r"no \d+ in it", r"no \d+ in it", r"no \d+ in it"),
    ],
)
def test_one_rule_says_what_a_path_is(text: str, scrubbed: str, cut: str) -> None:
    assert redaction.scrub(text) == scrubbed
    assert redaction.without_paths(text) == redaction.without_paths(cut) == cut


def test_half_a_character_in_an_error_does_not_cost_the_record(tmp_path: Path) -> None:
    """A file's name that is no text comes into a message as a lone surrogate, which no reader takes."""
    one = scaling.finished(scaling.plan()[0], np.random.default_rng(0))
    path = tmp_path / "record.json"
    path.write_text(records.dump(replace(one, status="failed", reason="no such file: \udcff.txt")))
    assert records.load(path).reason == "no such file: ?.txt"

"""Records are read strictly: what is not exactly a record is refused with the reason, never half read."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compare.calibrate import builders
from compare.store.record import Evaluation, Record, RecordError, dump, load
from tests.compare.planted import scaling

CELL = scaling.plan()[0]


@pytest.fixture
def good() -> Record:
    evaluations = (
        builders.loss(2.5),
        builders.exact("0110"),
    )
    return scaling.record(CELL, evaluations)


def doctor(tmp_path: Path, record: Record, change: Any) -> Path:
    """Write a record after `change` has altered its JSON object."""
    raw = json.loads(dump(record))
    change(raw)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    return path


def test_round_trip_keeps_everything(tmp_path: Path, good: Record) -> None:
    path = tmp_path / "record.json"
    path.write_text(dump(good), encoding="utf-8")
    assert load(path) == good


def test_the_chance_of_a_blind_guess_is_told_by_place_where_it_is_known(good: Record) -> None:
    known = replace(good, guess_rates={"task": [0.5, 0.25], "length": [0.5, 0.125]})
    assert (known.guess_rate(), known.guess_rate(1), known.guess_rate(1, "length")) == (0.5, 0.25, 0.125)
    assert known.guess_rate(2) is known.guess_rate(1, "format") is good.guess_rate() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.pop("seed"), "field seed is missing"),
        (lambda raw: raw.update(extra=1), "field extra is unknown"),
        (lambda raw: raw["evaluations"][0].pop("sd"), "field sd is missing"),
        (lambda raw: raw["evaluations"][0].update(extra=1), "field extra is unknown"),
        (lambda raw: raw.update(seed="0"), "field seed='0' is not of type int"),
        (lambda raw: raw.update(seed=True), "field seed=True is not of type int"),
        (lambda raw: raw.update(budget="1e11"), "is not of type float"),
        (lambda raw: raw.update(evaluations={}), "field evaluations={} is not a list"),
        (lambda raw: raw.update(history=[]), r"field history=\[\] is not an object"),
        (lambda raw: raw["history"].update(loss=[1.0]), "differ in length"),
        (
            lambda raw: raw["history"]["loss"].__setitem__(0, "high"),
            r"field history\.loss\[0\]='high' is not of type float",
        ),
        (lambda raw: raw.update(version=99), "record version 99"),
        (lambda raw: raw.pop("version"), "record version None"),
        (lambda raw: raw.update(status="running"), r"field status='running': Invalid enum value"),
        (lambda raw: raw.update(flops=raw["budget"] * 1.01), "exceed the budget"),
        (lambda raw: raw["seconds"].update(train=-1), r"field seconds\.train=-1: Expected `float` >= 0"),
        (lambda raw: raw["evaluations"][1].update(outcomes="01"), "outcomes do not match n"),
        (lambda raw: raw["evaluations"][1].update(value=0.0), "does not match its outcomes"),
        (
            lambda raw: raw["evaluations"][1].update(outcomes="2" * raw["evaluations"][1]["n"]),
            r"field evaluations\[1\]\.outcomes='222",
        ),
    ],
)
def test_a_doctored_record_is_refused_and_says_why(
    tmp_path: Path, good: Record, change: Any, message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        load(doctor(tmp_path, good, change))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(tmp_path: Path, good: Record, number: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(dump(good).replace('"value": 2.5', f'"value": {number}'), encoding="utf-8")
    with pytest.raises(RecordError):
        load(path)


def test_dump_refuses_nan(good: Record) -> None:
    bad = replace(good, evaluations=(builders.loss(math.nan),))
    with pytest.raises(RecordError):
        dump(bad)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_record_is_refused(tmp_path: Path, good: Record, share: float) -> None:
    text = dump(good)
    path = tmp_path / "record.json"
    path.write_text(text[: int(share * len(text))], encoding="utf-8")
    with pytest.raises(RecordError, match="not a readable record"):
        load(path)


def test_a_missing_file_is_a_record_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        load(tmp_path / "record.json")


def test_find_takes_stage_severity_and_effort_into_account(good: Record) -> None:
    found = good.find("exact", effort="greedy")
    assert isinstance(found, Evaluation)
    assert found.metric == "exact"
    assert good.find("exact", effort="sample") is None
    assert good.find("exact", severity=1) is None
    assert good.find("exact", stage="warm_start") is None


def test_find_tells_axes_apart_and_severity_0_belongs_to_all(good: Record) -> None:
    base = good.evaluations[0]
    shifted = [replace(base, axis=axis, severity=1) for axis in ("digits", "length")]
    record = replace(good, evaluations=(base, *shifted))
    assert record.find(base.metric, severity=1) == shifted[0]
    assert record.find(base.metric, severity=1, axis="length") == shifted[1]
    assert record.find(base.metric, axis="length") == base
    assert record.find(base.metric, severity=1, axis="format") is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON, data=st.data())
def test_any_change_is_refused_or_still_a_whole_record(
    tmp_path: Path, good: Record, value: Any, data: st.DataObject
) -> None:
    """Fuzz: some field of the record or of an evaluation becomes anything that JSON can say."""
    raw = json.loads(dump(good))
    place = data.draw(st.sampled_from([raw, raw["evaluations"][0], raw["history"], raw["seconds"]]))
    place[data.draw(st.sampled_from([*place, "surprise"]))] = value
    path = tmp_path / "record.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    try:
        record = load(path)
    except RecordError:
        return
    assert json.loads(dump(record))["version"] == 1

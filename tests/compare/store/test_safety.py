"""Hostile input ends in a named error; secrets stay out of what is kept."""

import contextlib
import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from arena.config import ConfigError
from compare.cli import from_hydra
from compare.folders import conf_folder
from compare.plan.cells import expand
from compare.plan.config import Request, register
from compare.store import manifest
from compare.store.manifest import ManifestError
from compare.store.record import Evaluation, RecordError, dump, glance, load
from compare.store.redaction import Redacting, redact
from tests.compare.run.test_status import RECORD

EVALUATION = Evaluation(
    stage="final", axis="x", severity=0, effort="e", metric="exact", value=0.5, n=2, sd=0.5, outcomes="01"
)
WHOLE = json.loads(
    dump(dataclasses.replace(RECORD, evaluations=(EVALUATION,), history={"step": [1.0, None]}))
)
MANIFEST = dataclasses.asdict(
    manifest.Manifest(
        name="e",
        title="t",
        question="q",
        command="c",
        commit="a",
        contrasts=(),
        cells=(manifest.PlannedCell(cell="c", study="s", arm="a", task="t", size="8", budget=1.0, seed=0),),
    )
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -1, 2**63, 1e308, float("nan"), float("inf"), -0.0]),
    st.text(max_size=8),
    st.sampled_from(["../../x", "/etc/passwd", "\x00", "\ud800"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def places(content: Any, path: tuple = ()) -> list[tuple]:
    """Every place in nested JSON."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    found = [path] if path else []
    if isinstance(content, dict | list | tuple):
        for key, value in items:
            inner = isinstance(value, dict | list | tuple)
            found += places(value, (*path, key)) if inner else [(*path, key)]
    return found


def mutated(content: Any, place: tuple, how: str, value: Any) -> Any:
    content = copy.deepcopy(content)
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    if how == "replace":
        parent[place[-1]] = value
    elif how == "delete":
        del parent[place[-1]]
    elif isinstance(parent, dict):
        parent["nonesuch"] = value
    else:
        parent.append(value)
    return content


def fuzz(content: Any):
    plain = json.loads(json.dumps(content))
    how = st.sampled_from(["replace", "delete", "add"])
    return st.builds(mutated, st.just(plain), st.sampled_from(places(plain)), how, ODD)


QUICK = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(fuzz(WHOLE), st.integers(0, 10**6))
def test_a_mutated_record_is_read_or_refused_by_name(tmp_path, content: Any, cut: int) -> None:
    path = tmp_path / "record.json"
    text = json.dumps(content)
    for part in (text, text[: cut % len(text)]):
        path.write_text(part, errors="surrogatepass")
        for read in (load, glance):
            with contextlib.suppress(RecordError):
                assert msgspec.to_builtins(read(path))


@QUICK
@given(st.binary(max_size=64))
def test_bytes_are_no_record(tmp_path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    for read in (load, glance):
        with pytest.raises(RecordError):
            read(path)


@QUICK
@given(fuzz(MANIFEST))
def test_a_mutated_manifest_is_read_or_refused_by_name(tmp_path, content: Any) -> None:
    path = manifest.path_of(tmp_path, "e")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    with contextlib.suppress(ManifestError):
        found = manifest.load(tmp_path, "e")
        assert not any("/" in cell.cell for cell in found.cells)


KEYS = [
    *(f"trainer.{k}" for k in ("threads", "warmup", "clip", "split", "problems", "checkpoint_minutes")),
    *(f"size.{k}" for k in ("layers", "heads", "width", "lr")),
    *(f"task.{k}" for k in ("min_digits", "max_digits", "batch", "name")),
    *("budget.flops", "seed", "arm.name", "workers", "retry", "runs", "arm", "task", "size", "logger.mode"),
]


@settings(QUICK, max_examples=40)
@given(st.sampled_from(KEYS), ODD)
def test_a_mutated_setting_is_taken_or_refused_by_name(key: str, value: Any) -> None:
    register()
    override = f"{key}={json.dumps(value, ensure_ascii=True)}"
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        try:
            root: Any = OmegaConf.to_object(compose("config", overrides=["size=8xs", override]))
            expand(Request(root=root, overrides=(override,)))
        except Exception as error:
            if not isinstance(error, ConfigError) and not from_hydra(error):
                raise


@pytest.mark.parametrize("name", ["../e", "a/b", "", "..", "/etc/passwd"])
def test_an_experiment_lies_in_the_store(name: str, tmp_path) -> None:
    with pytest.raises(ManifestError, match="not a plain name"):
        manifest.load(tmp_path, name)


def test_secrets_stay_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter2hunter2")
    monkeypatch.setenv("db_password", "hunter2hunter2-and-more")
    monkeypatch.setenv("MY_TOKEN", "true")  # too short to be one
    record = dataclasses.replace(
        RECORD,
        status="failed",
        reason="401 for hunter2hunter2",
        traceback="call(key='hunter2hunter2-and-more')",
        config={"arm": {"url": ["https://me:hunter2hunter2@host", "true"]}},
        environment={"x": "hunter2hunter2"},
    )
    text = dump(record)
    assert "hunter2" not in text
    assert "401 for [SOME_API_KEY]" in text
    assert "call(key='[db_password]')" in text
    path = tmp_path / "record.json"
    path.write_text(text)
    assert load(path).config == {"arm": {"url": ["https://me:[SOME_API_KEY]@host", "true"]}}
    with (tmp_path / "log.txt").open("w") as file:
        log = Redacting(file)
        for part in ("using hunt", "er2hunter2\nand hunter2hun", "ter2-and-more"):
            print(part, end="", file=log)
        log.close_line()
    assert (tmp_path / "log.txt").read_text() == "using [SOME_API_KEY]\nand [db_password]"
    assert redact("nothing here") == "nothing here"

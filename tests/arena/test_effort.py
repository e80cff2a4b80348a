"""An effort is a value, and its name says all of it."""

import re
from pathlib import Path

import pytest

from arena.config import ConfigError
from arena.effort import MEANINGS, Effort, vocabulary
from arena.ladder import check_ladder, with_default

CONF = Path(__file__).parents[2] / "conf"
PLAIN = ("greedy", "sample", "start", "likelihood", "bound")


def in_conf() -> list[str]:
    """Every effort that a ladder or a contrast of the configuration names."""
    names: set[str] = set()
    for file in CONF.rglob("*.yaml"):
        text = file.read_text()
        for ladder in re.findall(r"ladder[:=]\s*\[(.*?)\]", text):
            names |= {name.strip() for name in ladder.split(",")}
        names |= set(re.findall(r"effort: ([\w@]+)", text))
    return sorted(names)


def test_the_configuration_names_efforts_of_every_form() -> None:
    forms = {Effort.parse(name).form for name in in_conf()}
    assert forms >= {"think_K", "think_KxR", "unmask_K", "loop_K", "majority@K", "likelihood@K", "oracle@K"}


@pytest.mark.parametrize("name", [*PLAIN, *in_conf(), "energy@16", "joint@4", "refine_3", "two_words_12x3"])
def test_a_name_is_an_effort_and_prints_as_it_was(name: str) -> None:
    effort = Effort.parse(name)
    assert str(effort) == name
    assert Effort.parse(str(effort)) == effort
    assert re.sub("[KR]", "7", effort.form) == re.sub(r"\d+", "7", name)


def test_the_fields_say_what_the_name_packs() -> None:
    assert Effort.parse("think_8x4") == Effort(kind="think", steps=8, restarts=4)
    assert Effort.parse("think_8x1") == Effort.parse("think_8")
    assert Effort.parse("majority@16") == Effort(kind="sample", samples=16, selection="majority")
    assert Effort.parse("greedy") == Effort(kind="greedy")
    assert len({Effort.parse(name) for name in in_conf()}) == len(in_conf())


BAD = (
    *("", "think_", "think_0", "think_08", "think_2x", "think_2x0", "think_x4", "think_2x4x8", "think_٣"),
    *("majority@", "majority@0", "majority@1", "energy@four", "@8", "think_8@4"),
    *("Think_8", "think 8", "think-8", "greedy\n"),
)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_name_is_refused(name: str) -> None:
    assert Effort.match(name) is None
    with pytest.raises(ValueError, match=re.escape(f"effort={name}: not the name of an effort; write KIND")):
        Effort.parse(name)


def test_an_effort_of_another_form_than_those_asked_for_is_refused() -> None:
    assert Effort.parse("think_8", ["think_K"], "write think_8").steps == 8
    for name in ("think_8x2", "start", "think_"):
        with pytest.raises(ValueError, match=f"^effort={name}: write think_8$"):
            Effort.parse(name, ["think_K"], "write think_8")


def test_efforts_think_that_differ_in_steps_alone() -> None:
    thinking = {name for name in (*PLAIN, *in_conf(), "refine_3") if Effort.parse(name).thinks}
    assert thinking >= {"start", "think_1", "think_2x16", "unmask_4", "loop_8", "refine_3"}
    assert not thinking & {"greedy", "sample", "likelihood", "bound", "majority@4", "oracle@16"}


def test_only_the_oracle_looks_at_the_answer() -> None:
    oracles = {name for name in (*PLAIN, *in_conf()) if Effort.parse(name).oracle}
    assert oracles == {"oracle@4", "oracle@16"}
    assert {name for name in in_conf() if not Effort.parse(name).deployable} == oracles


def test_every_effort_that_exists_is_explained() -> None:
    assert {Effort.parse(name).form for name in (*PLAIN, *in_conf())} <= MEANINGS.keys()
    assert all(Effort.parse(re.sub("[KR]", "7", form)).form == form for form in MEANINGS)


def test_the_vocabulary_lists_what_occurs_once_and_new_kinds_last() -> None:
    names = ["refine_3", "think_2", "greedy", "think_8", "charm@4", "refine_2x2", "novel", "Bad name"]
    assert vocabulary(names) == {
        "greedy": MEANINGS["greedy"],
        "think_K": MEANINGS["think_K"],
        "refine_K": "K steps of the kind refine.",
        "charm@K": "One of K sampled answers, chosen by the rule charm.",
        "refine_KxR": "K steps of the kind refine, from each of R starts.",
    }


def test_a_ladder_holds_efforts_of_the_arm_once() -> None:
    def check(*ladder: str) -> None:
        check_ladder(ladder, ["refine_K"], "write refine_3 for 3 steps")

    check()
    check("refine_3", "refine_12")
    for bad in ("refine_0", "refine_2x2", "think_3", "refine"):
        with pytest.raises(ConfigError) as error:
            check("refine_3", bad)
        assert str(error.value) == (
            f"arm.ladder=['refine_3', '{bad}']: {bad} is no effort; write refine_3 for 3 steps"
        )
    with pytest.raises(ConfigError, match="an effort stands there twice; name each once"):
        check("refine_3", "refine_3")


def test_the_default_effort_comes_last_and_once() -> None:
    assert with_default(["think_4", "think_2", "think_1x3"], Effort(kind="think", steps=2)) == (
        "think_4",
        "think_1x3",
        "think_2",
    )
    assert with_default([], Effort(kind="loop", steps=4)) == ("loop_4",)

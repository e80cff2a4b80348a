"""Families declare themselves in their folders; the list is the only one, and what they declare is true."""

import pytest

from arena.config import Cell
from arena.effort import Effort
from arena.tasks import build_task
from arena.tasks.sudoku import Sudoku
from compare.plan.families import DECLARED, FAMILIES, load

SUDOKU = Sudoku(name="sudoku", batch=32)


def test_every_family_stands_in_the_list_once_under_its_own_name() -> None:
    assert len(FAMILIES) == len(DECLARED)
    assert load(DECLARED) == FAMILIES
    assert {name: family.config(name="a").kind for name, family in FAMILIES.items()} == {
        name: name for name in FAMILIES
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_family_declares_holds_for_its_module(name: str, tiny_cell) -> None:
    family = FAMILIES[name]
    cell: Cell = tiny_cell(family.config(name="a"), SUDOKU, flops=1e12)
    task = build_task(SUDOKU)
    module = family.build(cell, task)
    assert any(Effort.parse(effort).thinks for effort in module.efforts()) == family.thinks
    assert all(Effort.parse(effort).deployable for effort in module.likelihood_efforts())
    total = sum(p.numel() for p in module.parameters())
    assert family.parameters(cell, task) == (total, module.non_embedding_parameters())
    assert 0 < family.step_flops(cell, task) <= family.minimum_flops(cell, task)
    assert family.fingerprint(cell) == {}

"""Batches ask only where there is something to predict."""

import torch

from arena.config import Addition, Text
from arena.data import Problems, TrainingStream, collate, held_out
from arena.tasks import build_task


def test_targets_follow_their_positions() -> None:
    task = build_task(Addition(name="a", min_digits=2, max_digits=4))
    problems = [task.problem("train", 0, i) for i in range(12)]
    batch = collate(problems, task.pad)
    assert not batch.everywhere
    for i, problem in enumerate(problems):
        row = problem.prompt + problem.completion
        real = batch.supervised_BM[i]
        assert int(real.sum()) == len(problem.completion)
        for place, target in zip(
            batch.positions_BM[i][real].tolist(), batch.targets_BM[i][real].tolist(), strict=True
        ):
            assert batch.tokens_BS[i, place] == row[place]
            assert target == row[place + 1]
        observed = batch.tokens_BS[i].tolist()
        assert tuple(observed[: len(row) - 1]) == row[:-1]
        assert set(observed[len(row) - 1 :]) <= {task.pad}


def test_given_completions_replace_the_reference() -> None:
    task = build_task(Addition(name="a"))
    problems = [task.problem("train", 0, i) for i in range(2)]
    batch = collate(problems, task.pad, [(1, 2), ()])
    assert batch.supervised_BM.tolist() == [[True, True], [False, False]]
    assert batch.targets_BM.tolist() == [[1, 2], [0, 0]]


def test_text_is_supervised_everywhere() -> None:
    task = build_task(Text(name="t", context=8))
    batch = collate([task.problem("train", 0, i) for i in range(3)], task.pad)
    assert batch.everywhere
    assert torch.equal(batch.positions_BM, torch.arange(8).expand(3, 8))
    assert torch.equal(batch.tokens_BS[:, 1:], batch.targets_BM[:, :-1])


def test_rows_of_a_batch_stay_padded_as_the_whole() -> None:
    task = build_task(Addition(name="a", min_digits=1, max_digits=3))
    batch = next(iter(TrainingStream(task, 0, 6)))
    part = batch.rows(torch.tensor([4, 1]))
    assert part.problems == (batch.problems[4], batch.problems[1])
    for name in ("tokens_BS", "positions_BM", "targets_BM", "supervised_BM"):
        whole = getattr(batch, name)
        assert torch.equal(getattr(part, name), torch.stack([whole[4], whole[1]]))


def test_evaluation_problems_are_distinct_and_shared_by_all() -> None:
    task = build_task(Addition(name="a", min_digits=2, max_digits=3))
    problems = held_out(task, "test", 300)
    assert len({p.prompt for p in problems}) == 300
    assert problems[:100] == held_out(task, "test", 100)


def test_a_small_split_gives_what_it_holds() -> None:
    task = build_task(Addition(name="a", min_digits=2, max_digits=2))
    problems = held_out(task, "test", 600)
    assert 300 < len(problems) < 500
    assert len({p.prompt for p in problems}) == len(problems)


def test_the_data_module_serves_every_entry_point() -> None:
    task = build_task(Addition(name="a"))
    data = Problems(task, seed=0, batch=8, problems=20)
    assert len(next(iter(data.train_dataloader())).problems) == 8
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        assert sum(len(b.problems) for b in loader) == 20


def test_a_pool_is_seen_whole_in_each_epoch_and_in_a_new_order() -> None:
    task = build_task(Addition(name="a", min_digits=4, max_digits=4))
    stream = iter(TrainingStream(task, seed=3, batch=4, pool=10))
    seen = [p.prompt for _ in range(5) for p in next(stream).problems]
    first, second = seen[:10], seen[10:]
    assert set(first) == set(second) == {task.problem("train", 3, i).prompt for i in range(10)}
    assert first != second
    again = TrainingStream(task, seed=3, batch=4, pool=10)
    assert [p.prompt for p in next(iter(again)).problems] == seen[:4]
    assert [again.drawn(i) for i in range(10)] != [
        TrainingStream(task, seed=4, batch=4, pool=10).drawn(i) for i in range(10)
    ]

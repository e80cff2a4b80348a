"""Generation from a checkpoint: cached equals uncached, sampling, the command line, transformers."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from arena.config import Addition, ConfigError, Size, Text
from arena.data import Problems
from arena.seeding import seed_everything
from arena.tasks import build_task
from ebt.checkpoint import load, restore
from ebt.config import Thinking, thinking_of
from ebt.decode import Decoder, Sampling, take
from ebt.generate import main, usage
from ebt.infer import Noise, infer
from ebt.module import EBTModule
from ebt.pretrained import EBTForCausalLM, as_pretrained
from tests.conftest import quiet_trainer
from tests.ebt.conftest import energy_arms


@pytest.fixture
def checkpoint(tmp_path, tiny_cell, arm_of):
    """checkpoint(arm name, task) trains a little; returns the module and the file."""

    def train(name: str = "ebt_s1", task=None, **options) -> tuple[EBTModule, Path]:
        cell = tiny_cell(arm_of(name, **options), task or Text(name="text", context=24, batch=4), flops=6e8)
        seed_everything(0)
        module = EBTModule(cell, build_task(cell.task))
        trainer = quiet_trainer()
        data = Problems(module.task, seed=0, batch=cell.task.batch, problems=4)
        trainer.fit(module, train_dataloaders=data.train_dataloader())
        trainer.save_checkpoint(tmp_path / f"{name}.ckpt", weights_only=True)
        return module, tmp_path / f"{name}.ckpt"

    return train


@pytest.mark.parametrize("name", energy_arms())
@pytest.mark.parametrize("thinking", [None, Thinking(steps=3, restarts=3, hold_last=True)])
def test_cached_generation_equals_uncached_token_for_token_and_energy_for_energy(
    name: str, thinking, arm_of, tiny_cell
) -> None:
    torch.manual_seed(0)
    module = EBTModule(tiny_cell(arm_of(name), Addition(name="addition")), build_task(Addition(name="a")))
    module.alpha.data.fill_(3.0)
    if module.arm.gate == "entropy":
        module.cut.fill_(2.2)
    if module.arm.refiner == "head" and thinking is not None:
        thinking = Thinking(steps=3)
    thinking = thinking or thinking_of(f"think_{module.arm.full_steps}")
    rows = torch.randint(16, (4, 5), generator=torch.Generator().manual_seed(1))
    energies, counts = [], []

    def keep(_token, thought) -> None:
        energies.append(thought.energy_BM)
        counts.append(thought.steps_BM[:, 0])

    decoder = Decoder(module.ebt, module.cell.size, noise=Noise(torch.device("cpu"), "k"))
    tokens = decoder.run(rows, limit=9, thinking=thinking, energy=True, on_token=keep)
    noise = Noise(torch.device("cpu"), "k")
    for i in range(9):
        context = module.model.observe(rows, torch.full((4, 1), rows.shape[1] - 1))
        thought = infer(module.ebt, context, (4, 1), thinking, noise=noise, energy=True)
        token = thought.logits_BMV[:, 0].argmax(-1)
        assert torch.equal(token, tokens[:, i])
        assert torch.equal(thought.steps_BM[:, 0], counts[i])
        if thought.energy_BM is not None:
            torch.testing.assert_close(energies[i], thought.energy_BM, equal_nan=True, atol=1e-4, rtol=1e-4)
        rows = torch.cat((rows, token[:, None]), dim=1)


def test_sampling_keeps_to_the_most_probable_tokens() -> None:
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log().expand(20_000, 4)
    generator = torch.Generator().manual_seed(0)

    def shares(**options) -> list[float]:
        drawn = take(logits, Sampling(**options), generator)
        return (drawn.bincount(minlength=4) / len(drawn)).tolist()

    assert shares(temperature=0.0) == [1, 0, 0, 0]
    assert shares(temperature=1.0) == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.015)
    assert shares(temperature=1.0, top_k=2) == pytest.approx([4 / 7, 3 / 7, 0, 0], abs=0.015)
    # .4 + .3 reach .6: the third is out; at .75 it is in.
    assert shares(temperature=1.0, top_p=0.6) == pytest.approx([4 / 7, 3 / 7, 0, 0], abs=0.015)
    assert shares(temperature=1.0, top_p=0.75) == pytest.approx([4 / 9, 3 / 9, 2 / 9, 0], abs=0.015)
    assert shares(temperature=1.0, top_p=0.01) == [1, 0, 0, 0]
    squared = [x**2 / 0.3 for x in (0.4, 0.3, 0.2, 0.1)]
    assert shares(temperature=0.5) == pytest.approx(squared, abs=0.015)


def test_the_command_prints_text_and_energies(checkpoint, capsys) -> None:
    module, path = checkpoint()
    assert main([f"checkpoint={path}", "prompt=def f(x=1", "tokens=6"]) == 0
    text = capsys.readouterr().out
    assert len(text) >= 2
    assert main([f"checkpoint={path}", "prompt=def f(x=1", "tokens=6", "show=energy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["token", "probability", "energy", "steps"]
    assert len(lines) == 7
    for line in lines[1:]:
        _, probability, energy, steps = line.rsplit(maxsplit=3)
        assert 0 < float(probability) <= 1
        assert math.isfinite(float(energy))
        assert int(steps) == module.arm.steps
    sampled = []
    for seed in (0, 0, 1):
        main([f"checkpoint={path}", "prompt=import ", "tokens=12", "temperature=1", f"seed={seed}"])
        sampled.append(capsys.readouterr().out)
    assert sampled[0] == sampled[1] != sampled[2]


def test_an_answer_ends_with_the_end_token(checkpoint, capsys) -> None:
    _, path = checkpoint("ebt_gated", Addition(name="addition", batch=8))
    assert main([f"checkpoint={path}", "prompt=321+654=", "show=energy", "steps=3", "restarts=2"]) == 0
    assert 2 <= len(capsys.readouterr().out.splitlines()) <= 7


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["prompt"], "write key=value"),
        (["prompts=a"], "prompts"),
        (["prompt="], "at least one symbol"),
        (["steps=many"], "many"),
        (["tokens=0"], "tokens=0"),
        (["steps=0"], "steps=0: must be at least 1"),
        (["show=all"], "choose one of text, energy"),
        (["steps=5"], "steps=5: the energy is conditioned on 2 steps; set hold_last=true"),
        (["prompt=" + "x" * 40], "prompt of 40 tokens and tokens=1: training saw 25 together; shorten"),
        (["tokens=30"], "training saw 25 together; shorten the prompt, lower tokens"),
        (["temperature=-1"], "temperature=-1.0"),
        (["top_p=0"], "top_p=0.0"),
        (["restarts=0"], "restarts=0"),
        (["checkpoint=nowhere.ckpt"], "checkpoint=nowhere.ckpt: no such file"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_bad_input_is_one_line_and_status_2(checkpoint, capsys, arguments: list[str], says: str) -> None:
    _, path = checkpoint()
    capsys.readouterr()
    assert main([f"checkpoint={path}", "prompt=ab", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_without_an_energy_nothing_can_be_chosen_by_it(checkpoint, capsys) -> None:
    _, path = checkpoint("ebt_no_energy")
    for option in ("restarts=2", "accept=true", "tolerance=0.1", "langevin=0.1"):
        assert main([f"checkpoint={path}", "prompt=ab", option]) == 2
        assert "arm.refiner=head has no energy" in capsys.readouterr().err


def test_a_symbol_outside_the_vocabulary_is_named(checkpoint, capsys) -> None:
    _, path = checkpoint("ebt_s1", Addition(name="addition", batch=8))
    assert main([f"checkpoint={path}", "prompt=12*3="]) == 2
    assert "'*' not among this task's symbols" in capsys.readouterr().err


def test_files_that_are_no_checkpoint_are_refused(tmp_path, checkpoint) -> None:
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    for name in ("text.ckpt", "other.ckpt"):
        with pytest.raises(ConfigError, match="not a checkpoint of this project"):
            load(tmp_path / name)
    _, path = checkpoint()
    raw = torch.load(path, weights_only=True)
    for change, says in (
        ({"arm": {**raw["cell"]["arm"], "kind": "rl"}}, "an arm of family rl"),
        ({"arm": {**raw["cell"]["arm"], "novel": 1}}, "of another version"),
        ({"size": {**raw["cell"]["size"], "width": 32}}, r"tensor model\.\S+ is \(.*16.*\) in the file and"),
    ):
        torch.save({**raw, "cell": {**raw["cell"], **change}}, tmp_path / "changed.ckpt")
        with pytest.raises(ConfigError, match=says):
            load(tmp_path / "changed.ckpt")


def test_a_checkpoint_holds_no_path_and_gives_the_module_back(checkpoint, tmp_path) -> None:
    own = tmp_path / "corpus.txt"
    own.write_text("\n".join(f"line {i} of a text of one's own, {i * i}" for i in range(400)))
    module, path = checkpoint("ebt_gated", Text(name="text", context=16, batch=4, path=str(own)))
    assert str(tmp_path).encode() not in path.read_bytes()
    loaded = load(path)
    assert loaded.ebt.arm == module.arm
    torch.testing.assert_close(loaded.ebt.cut, module.cut)
    for a, b in zip(loaded.ebt.model.parameters(), module.model.parameters(), strict=True):
        assert torch.equal(a, b)
    smaller = Size(name="s", layers=1, heads=2, width=16, lr=1e-3)
    other = EBTModule(dataclasses.replace(module.cell, size=smaller), module.task)
    with pytest.raises(ConfigError, match="in the file and"):
        restore(other, module.state_dict(), "checkpoint")


@pytest.mark.parametrize("name", ["ebt_s1", "ebt_gated"])
def test_a_round_trip_through_transformers(checkpoint, tmp_path, name: str) -> None:
    module, path = checkpoint(name)
    loaded = load(path)
    model = as_pretrained(loaded.ebt, loaded.size, 256)
    tokens = torch.randint(256, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = model(tokens, labels=tokens)
    model.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert isinstance(again, EBTForCausalLM)
    with torch.no_grad():
        after = again.eval()(tokens, labels=tokens)
    assert torch.equal(before.logits, after.logits)
    nats = torch.nn.functional.cross_entropy(before.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(after.loss, nats)
    # The logits are those of the arm's own inference.
    thinking = thinking_of(f"think_{module.arm.full_steps}")
    with torch.no_grad():
        own = infer(
            module.ebt,
            module.model.observe(tokens),
            (2, 12),
            thinking,
            noise=Noise(torch.device("cpu"), 0, "pretrained"),
        )
    torch.testing.assert_close(own.logits_BMV, before.logits)
    generated = again.generate(tokens, max_new_tokens=3, do_sample=False)
    assert generated.shape == (2, 15)
    with pytest.raises(ConfigError, match="the vocabulary has 256 tokens"):
        again(tokens + 200)
    with pytest.raises(ConfigError, match="pad on the right"):
        again(tokens, attention_mask=torch.tensor([[0] + [1] * 11, [1] * 12]))


def test_the_usage_lists_every_setting() -> None:
    from ebt.generate import Options

    text = usage()
    for field in dataclasses.fields(Options):
        assert f"  {field.name}: " in text

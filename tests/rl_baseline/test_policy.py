"""Pretrained policies: tiny models with random weights and their tokenizers, saved and loaded by path."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoTokenizer, MixtralConfig, MixtralForCausalLM

from arena.config import Addition, Budget, Cell, ConfigError, Size, TrainerConfig
from arena.data import collate
from arena.rollout import sample, score, sequence_seeds
from arena.shape import teacher_forced
from arena.tasks import build_task
from arena.tasks.base import Problem, Task
from rl_baseline import cost, pretrained
from rl_baseline.config import RLArm, TransformerArm
from rl_baseline.module import RLModule
from rl_baseline.policy import PretrainedPolicy, build_policy, load_policy
from rl_baseline.supervised import TransformerModule
from rl_baseline.symbols import BYTES, stand_in, task_tokens
from tests.rl_baseline.tiny_models import FAMILIES, LLAMA, byte_level, save, sentence_piece

SIZE = Size(name="pretrained", layers=1, heads=2, width=32, lr=3e-3)


@pytest.fixture(params=list(FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return save(tmp_path / request.param, FAMILIES[request.param], byte_level())


@pytest.fixture
def llama(tmp_path: Path) -> str:
    return save(tmp_path / "llama", FAMILIES["llama"], byte_level())


def problems(task: Task, count: int = 6) -> list[Problem]:
    """Training problems; prompts of three and of four digits."""
    chosen = [task.problem("train", 0, index) for index in range(count)]
    assert len({len(p.prompt) for p in chosen}) == 2
    return chosen


def draw(policy: PretrainedPolicy, task: Task, chosen: list[Problem], group: int = 3):
    prompts = [p.prompt for p in chosen]
    seeds = sequence_seeds(prompts, group, "test")
    return sample(policy, task, prompts, length=6, group=group, seeds=seeds)


def test_the_cut_model_gives_the_published_logits_of_the_tasks_tokens(folder, task):
    """Token by token: the whole model on the tokenizer's own ids, only the task's columns compared."""
    policy = load_policy(folder, None, task)
    problem = task.problem("train", 0, 3)
    batch = collate([problem], task.pad)
    whole = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(task.text(problem.prompt + problem.completion[:-1]), return_tensors="pt").input_ids
    assert ids.shape == batch.tokens_BS.shape
    logits = whole(ids).logits[0, len(problem.prompt) - 1 :]
    columns = [tokenizer.convert_tokens_to_ids(stand_in(ord(s))) for s in task.symbols]
    torch.testing.assert_close(policy.predicted(batch)[0], logits[:, columns], rtol=0, atol=1e-5)


def test_sampled_log_probabilities_are_those_of_one_full_pass_in_training_mode(folder, task):
    policy = load_policy(folder, None, task).train()
    chosen = problems(task)
    rollout = draw(policy, task, chosen)
    batch = collate([p for p in chosen for _ in range(3)], task.pad, rollout.completions)
    logp, entropy = score(policy, batch)
    assert torch.equal(rollout.mask_BT, batch.supervised_BM)
    torch.testing.assert_close(rollout.logp_BT, logp, rtol=0, atol=1e-4)
    torch.testing.assert_close(rollout.entropy_BT, entropy, rtol=0, atol=1e-4)
    assert rollout.entropy_BT[rollout.mask_BT].max() > 0.5


def test_a_sequence_does_not_depend_on_the_batch_it_is_sampled_in(folder, task):
    policy = load_policy(folder, None, task)
    chosen = problems(task)
    together = draw(policy, task, chosen)
    alone = [draw(policy, task, [p]) for p in chosen]
    assert together.completions == [c for rollout in alone for c in rollout.completions]
    assert len(set(together.completions)) > len(chosen)


def counted(call: Callable[[], object]) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def test_flops_and_parameters_are_those_counted_from_the_files(folder, task):
    policy = load_policy(folder, None, task)
    chosen = problems(task)
    rollouts = []
    actual = counted(lambda: rollouts.append(draw(policy, task, chosen)))
    assert rollouts[0].flops == pytest.approx(actual, rel=0.02)
    batch = collate(chosen, task.pad)
    sequences, observed = batch.tokens_BS.shape
    actual = counted(lambda: policy.predicted(batch).sum().backward())
    expected = 3 * teacher_forced(
        policy.shape, sequences=sequences, observed=observed, predicted=batch.targets_BM.shape[1]
    )
    assert expected == pytest.approx(actual, rel=0.02)
    assert policy.shape.parameters == sum(p.numel() for p in policy.parameters())
    assert policy.shape.non_embedding == policy.non_embedding_parameters()


def build(
    arm: TransformerArm | RLArm, flops: float, kind: type[TransformerModule] = TransformerModule
) -> TransformerModule:
    cell = Cell(
        arm=arm,
        task=Addition(name="addition", min_digits=1, max_digits=2, batch=32),
        size=SIZE,
        budget=Budget(flops=flops),
        trainer=TrainerConfig(accelerator="cpu", problems=64),
        seed=0,
    )
    cell.validate()
    return kind(cell, build_task(cell.task))


class FirstDigit(RLModule):
    """Pays for a completion that begins with the prompt's first digit."""

    def rewards(self, problems, rollout):
        self.reward_queries += len(problems)
        pairs = zip(problems, rollout.completions, strict=True)
        return torch.tensor([float(c[0] == p.prompt[0]) for p, c in pairs])


def test_warm_start_reward_and_checkpoint_through_the_real_module(folder, trainer, tmp_path):
    arm = RLArm(name="rl", warm_start=0.3, prompts=8, group=4, updates=1, lr_scale=0.1, pretrained=folder)
    module = build(arm, 1e9, FirstDigit)
    fresh = module.model.lm.get_input_embeddings().weight.detach().clone()
    runner, data = trainer(module)
    runner.fit(module, data)
    columns = module.history.columns(10_000)
    losses = [x for x in columns["loss"] if x is not None]
    rewards = [x for x in columns["reward"] if x is not None]
    assert losses[-1] < 0.8 * losses[0]
    assert len(rewards) >= 3
    assert any(s for s in columns["signal"] if s is not None)
    # One update a rollout: what was drawn and what is scored agree on every log-probability.
    assert all(abs(kl) < 1e-4 for kl in columns["kl"] if kl is not None)
    assert 0.8 < module.share_spent <= 1
    # Even the token that meant padding in the model's own vocabulary has learned.
    assert (module.model.lm.get_input_embeddings().weight[0] - fresh[0]).abs().max() > 1e-3

    path = tmp_path / "checkpoint.ckpt"
    runner.save_checkpoint(path, weights_only=True)
    state = torch.load(path, weights_only=True)["state_dict"]
    again = build(arm, 1e9, FirstDigit)
    again.load_state_dict(state)
    asked = problems(build_task(Addition(name="addition")))
    assert again.solve(asked, "sample", (1,)) == module.solve(asked, "sample", (1,))
    assert build(arm, 1e9, FirstDigit).solve(asked, "sample", (1,)) != module.solve(asked, "sample", (1,))


def test_the_plan_counts_the_module_it_plans(llama):
    arm = TransformerArm(name="t", pretrained=llama)
    module = build(arm, 1e9)
    batch = collate([module.task.problem("train", 0, i) for i in range(32)], module.task.pad)
    assert cost.minimum_flops(module.cell, module.task) == module.step_flops(batch)
    total = sum(p.numel() for p in module.parameters())
    assert cost.parameters(module.cell, module.task) == (total, module.non_embedding_parameters())


def test_planning_a_local_model_imports_no_torch(llama):
    code = (
        "import sys; from arena.tasks import build_task\n"
        "from arena.config import Addition, Budget, Cell, Size, TrainerConfig\n"
        "from rl_baseline import cost, pretrained; from rl_baseline.config import RLArm\n"
        f"arm = RLArm(name='r', pretrained={llama!r}); task = Addition(name='a')\n"
        "size = Size(name='s', layers=1, heads=2, width=32, lr=1e-3); budget = Budget(flops=1e9)\n"
        "cell = Cell(arm=arm, task=task, size=size, budget=budget, trainer=TrainerConfig(), seed=0)\n"
        "task = build_task(task); assert cost.minimum_flops(cell, task) > 0; cost.parameters(cell, task)\n"
        "assert pretrained.fingerprint(arm.pretrained)\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def bytes_task() -> Task:
    task = build_task(Addition(name="addition"))
    task.symbols, task.vocabulary = BYTES, 256
    return task


def test_symbols_are_found_in_every_kind_of_vocabulary(tmp_path, task):
    for name, tokenizer in {
        "bytes": byte_level(),
        "pieces": sentence_piece("0123456789+=>._", fallback=False),
        "fallback": sentence_piece("0123456789", fallback=True),
    }.items():
        folder = save(tmp_path / name, FAMILIES["llama"], tokenizer)
        ids = task_tokens(folder, None, task)
        assert len(set(ids)) == 16
        encoded = tokenizer.encode("1+2=3", add_special_tokens=False).ids
        assert encoded == [ids[task.symbols.index(s)] for s in "1+2=3"]


def test_bytes_are_mapped_to_byte_tokens_and_to_nothing_else(tmp_path):
    task = bytes_task()
    level = save(tmp_path / "level", FAMILIES["llama"], byte_level())
    assert task_tokens(level, None, task) == [(b * 7 + 11) % 256 for b in range(256)]
    pieces = sentence_piece("aé", fallback=True)
    ids = task_tokens(save(tmp_path / "pieces", FAMILIES["llama"], pieces), None, task)
    assert ids[ord("a")] == pieces.token_to_id("a")
    assert ids[0xE9] == pieces.token_to_id("<0xE9>")
    # Every character of Latin-1, but not one byte above 127.
    visible = "".join(filter(str.isprintable, BYTES))
    letters = save(tmp_path / "letters", FAMILIES["llama"], sentence_piece(visible, fallback=False))
    with pytest.raises(ConfigError, match=r"no byte tokens \(\d+ of 256 bytes are missing\)"):
        task_tokens(letters, None, task)


def test_a_policy_whose_tokenizer_lacks_symbols_is_refused_before_anything_is_loaded(tmp_path, task):
    folder = save(tmp_path / "m", FAMILIES["llama"], sentence_piece("012345678+=._", fallback=False))
    with pytest.raises(ConfigError, match=r"no single token for '9' '>'; choose a model") as error:
        cost.minimum_flops(build_cell(pretrained=folder), task)
    assert "\n" not in str(error.value)


def build_cell(**changes: Any) -> Cell:
    return Cell(
        arm=TransformerArm(name="t", **changes),
        task=Addition(name="addition"),
        size=SIZE,
        budget=Budget(flops=1e9),
        trainer=TrainerConfig(),
        seed=0,
    )


def test_a_model_without_a_tokenizer_speaks_the_tasks_ids(tmp_path, task):
    folder = save(tmp_path / "bare", FAMILIES["llama"], None)
    assert task_tokens(folder, None, task) == list(range(16))
    wide = build_task(Addition(name="addition"))
    wide.vocabulary = 301
    with pytest.raises(ConfigError, match="no tokenizer, and 300 token ids where the task has 301"):
        task_tokens(folder, None, wide)
    (Path(folder) / "vocab.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"has vocab\.json but no tokenizer\.json"):
        task_tokens(folder, None, task)


def test_what_cannot_be_loaded_or_counted_is_named(llama, tmp_path, task):
    with pytest.raises(ConfigError, match=r"arm\.revision=abc: of no model"):
        cost.minimum_flops(build_cell(revision="abc"), task)
    with pytest.raises(ConfigError, match=r"arm\.revision=abc: .* is a local folder"):
        cost.minimum_flops(build_cell(pretrained=llama, revision="abc"), task)
    mixture = MixtralConfig(**LLAMA, num_local_experts=2)
    experts = save(tmp_path / "experts", lambda: MixtralForCausalLM(mixture), byte_level())
    with pytest.raises(ConfigError, match=r"num_local_experts in its config\.json"):
        cost.minimum_flops(build_cell(pretrained=experts), task)
    (Path(llama) / "model.safetensors").rename(Path(llama) / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"holds no model\.safetensors"):
        cost.minimum_flops(build_cell(pretrained=llama), task)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_problems_longer_than_the_models_context_are_refused_by_name(tmp_path, family):
    """64 positions; at 20 digits prompt and completion take 42 + 22 tokens, at 21 digits 44 + 23."""
    folder = save(tmp_path / family, FAMILIES[family], byte_level())
    fitting, long = (build_task(Addition(name="addition", max_digits=n)) for n in (19, 20))
    assert (sum(fitting.longest(1)), sum(long.longest(1))) == (64, 67)
    cost.minimum_flops(build_cell(pretrained=folder), fitting)
    with pytest.raises(ConfigError, match=r"has positions for 64 tokens; .* at digits 1 take up to 67"):
        cost.minimum_flops(build_cell(pretrained=folder), long)


def test_a_count_that_the_model_does_not_bear_out_is_refused(llama, task, monkeypatch):
    described = pretrained.describe(llama, None)
    fewer = {n: s for n, s in described.tensors.items() if "down_proj" not in n}
    monkeypatch.setattr(pretrained, "describe", lambda *_: dataclasses.replace(described, tensors=fewer))
    with pytest.raises(ConfigError, match="LlamaForCausalLM cannot be costed"):
        load_policy(llama, None, task)


def test_a_local_model_is_known_by_its_content(tmp_path):
    first = save(tmp_path / "a" / "model", FAMILIES["llama"], byte_level())
    same = save(tmp_path / "b" / "model", FAMILIES["llama"], byte_level())
    assert pretrained.fingerprint(first) == pretrained.fingerprint(same)
    path = Path(same) / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    assert pretrained.fingerprint(first) != pretrained.fingerprint(same)
    assert pretrained.fingerprint(None) == {} == pretrained.fingerprint("owner/name")


def test_without_a_pretrained_model_the_policy_is_the_arenas(task):
    policy = build_policy(build_cell(), task)
    assert policy.shape == cost.policy_shape(build_cell(), task)
    assert not isinstance(policy, PretrainedPolicy)
    assert set(policy.state_dict()) >= {"embedding.weight", "head.weight", "backbone.norm.weight"}

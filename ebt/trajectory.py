"""How the completions of the autoregressive EBT come about, step by step.

A completion is generated token by token, each by a descent of its own after the model's own tokens
before it. Step k of a completion is the row of states that these descents had after k steps, each as it
was when its token was chosen: the tokens before it are final in every entry. The last entry is therefore
what `solve` gives, and no reference answer enters anywhere.

Energies of different steps of thinking are different functions where the model is conditioned on the
step. So that a change along the steps is one of the state, every entry is given the energy of the last
step, E(., K - 1), the one by which outcomes are ranked. A position that a gate leaves alone keeps its
start in every entry, and the energy of that start.

Shapes as in ebt.energy; T = K + 1 entries.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from arena.config import Size
from arena.contender import Trajectory
from arena.data import collate
from arena.tasks.base import Problem, Task
from ebt.config import Thinking
from ebt.decode import Decoder, by_prompt_length, until
from ebt.infer import EBT, Noise
from ebt.slope import Slope
from ebt.think import Thought


@torch.inference_mode()
def trajectories(
    ebt: EBT, problems: Sequence[Problem], task: Task, size: Size, steps: int, *, noise: Noise
) -> list[Trajectory]:
    """One per problem, of greedy decoding with `steps` steps per token; none for an arm without energy."""
    if ebt.arm.refiner == "head":
        return []
    found: dict[int, Trajectory] = {}
    slope = Slope(ebt.model)
    for members, prompts_BS, limit in by_prompt_length(problems, task, ebt.alpha.device):
        states: list[Tensor] = []

        def keep(_token_B: Tensor, thought: Thought, states: list[Tensor] = states) -> None:
            states.append(states_of(thought, steps))

        rows_BT = Decoder(ebt, size, noise=noise).run(
            prompts_BS,
            limit=limit,
            thinking=Thinking(steps=steps, hold_last=True),
            end=task.end,
            trajectory=True,
            on_token=keep,
        )
        completions = [until(row, task.end) for row in rows_BT.tolist()]
        batch = collate([problems[i] for i in members], task.pad, completions).to(ebt.alpha.device)
        context = ebt.model.observe(batch.tokens_BS, batch.positions_BM)
        p_BTMV = torch.stack(states[: batch.targets_BM.shape[1]], dim=2)
        real_BM = batch.supervised_BM
        energy_BT = torch.stack(
            [
                (slope.energy(p_BMV, context, steps - 1).float() * real_BM).sum(1)
                for p_BMV in p_BTMV.unbind(1)
            ],
            dim=1,
        )
        entropy_BTM = torch.special.entr(p_BTMV.float()).sum(-1) * real_BM[:, None]
        entropy_BT = entropy_BTM.sum(-1) / real_BM.sum(1, keepdim=True)
        tokens_BTM = p_BTMV.argmax(-1)
        for row, (i, last) in enumerate(zip(members, completions, strict=True)):
            before = [tuple(tokens[: len(last)]) for tokens in tokens_BTM[row, :-1].tolist()]
            found[i] = Trajectory(
                completions=(*before, last),
                energy=tuple(energy_BT[row].tolist()),
                entropy=tuple(entropy_BT[row].tolist()),
            )
    return [found[i] for i in range(len(problems))]


def states_of(thought: Thought, steps: int) -> Tensor:
    """Distributions (B, T, V) of one candidate a row; the start throughout where a gate let none through."""
    final_B1V = thought.logits_BMV.softmax(-1)
    if not thought.trajectories:
        return final_B1V.expand(-1, steps + 1, -1)
    (path,) = thought.trajectories
    return torch.where(thought.steps_BM[..., None] > 0, torch.cat(path.distributions, dim=1), final_B1V)

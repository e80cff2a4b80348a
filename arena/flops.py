"""Counted FLOPs: the one place that knows what a computation costs.

Convention: matrix products only, 2 FLOPs per multiply-add, as torch's FlopCounterMode counts them.
Left out, for every arm alike: element-wise work, norms, softmax, optimiser arithmetic (a few per
cent at width 64, less above). Attention counts every query-key pair that is computed; a causal mask
earns no discount. What fused attention kernels recompute in their backward pass is not counted.
Plain numbers in, plain numbers out, no torch: a plan is costed before anything heavy is imported.
"""

from arena.config import Size


def linear(tokens: float, inputs: int, outputs: int) -> float:
    """One matrix product of `tokens` rows."""
    return 2.0 * tokens * inputs * outputs


def attention(size: Size, pairs: float) -> float:
    """Scores and weighted values for `pairs` query-key pairs, all heads, one block."""
    return 4.0 * pairs * size.width


def block_linears(size: Size, tokens: float) -> float:
    """The matrix products of one block with its weights."""
    w = size.width
    return linear(tokens, w, 3 * w) + linear(tokens, w, w) + linear(tokens, w, 3 * size.hidden)


def backbone(size: Size, tokens: float, pairs: float) -> float:
    """Forward pass of every block over `tokens` tokens with `pairs` query-key pairs per block."""
    return size.layers * (block_linears(size, tokens) + attention(size, pairs))


def context(size: Size, tokens: float, pairs: float) -> float:
    """Forward pass that ends with the keys and values of the last block: nobody reads its output."""
    full = (size.layers - 1) * (block_linears(size, tokens) + attention(size, pairs))
    return full + linear(tokens, size.width, 2 * size.width)


def energy_forward(
    size: Size, vocabulary: int, *, candidates: float, pairs: float, outputs: int = 1
) -> float:
    """One candidate pass: vocabulary map, backbone, energy head (or a head of more outputs).

    `pairs` counts candidate-context pairs; a candidate's score with itself is no matrix product.
    """
    return (
        linear(candidates, vocabulary, size.width)
        + backbone(size, candidates, pairs)
        + linear(candidates, size.width, outputs)
    )


def ebt_context(
    size: Size, vocabulary: int, *, tokens: float, context_pairs: float, predicted: float = 0
) -> float:
    """The observed stream, once: keys and values, and a language-model head's logits if `predicted`."""
    if predicted:
        return backbone(size, tokens, context_pairs) + linear(predicted, size.width, vocabulary)
    return context(size, tokens, context_pairs)


def ebt_think(
    size: Size,
    vocabulary: int,
    *,
    tokens: float,
    context_pairs: float,
    candidates: float,
    pairs: float,
    passes: float,
    predicted: float = 0,
    outputs: int = 1,
) -> float:
    """Inference: the context once, then `passes` candidate passes; a step takes two, its forward and
    its input gradient."""
    once = ebt_context(size, vocabulary, tokens=tokens, context_pairs=context_pairs, predicted=predicted)
    energy = energy_forward(size, vocabulary, candidates=candidates, pairs=pairs, outputs=outputs)
    return once + passes * energy


def ebt_train(
    size: Size,
    vocabulary: int,
    *,
    tokens: float,
    context_pairs: float,
    candidates: float,
    pairs: float,
    steps: int,
    graph: str = "step",
    contrast: bool = False,
    predicted: float = 0,
) -> float:
    """Training step: context forward and backward, and six energy passes a differentiated step.

    Six: forward 1, gradient with respect to the candidate 1, backward through both 4. A candidate
    that is a constant of its step is not asked for its gradient: that product with the vocabulary map
    is saved at every step of graph `step`, at the one of `last`, at the first of `all`. Steps that are
    not differentiated cost two passes; the contrastive term a forward and a backward.
    """
    energy = energy_forward(size, vocabulary, candidates=candidates, pairs=pairs)
    saved = linear(candidates, vocabulary, size.width)
    once = 3 * ebt_context(size, vocabulary, tokens=tokens, context_pairs=context_pairs, predicted=predicted)
    if graph == "last":
        descent = 2 * (steps - 1) * energy + 6 * energy - saved
    else:
        descent = 6 * steps * energy - (steps if graph == "step" else 1) * saved
    return once + descent + (3 * energy - saved if contrast else 0.0)


def ebt_correct(
    size: Size,
    vocabulary: int,
    *,
    tokens: float,
    context_pairs: float,
    candidates: float,
    pairs: float,
    steps: int,
    predicted: float,
) -> float:
    """Training step of the control that corrects logits without an energy: three passes a step."""
    once = 3 * ebt_context(size, vocabulary, tokens=tokens, context_pairs=context_pairs, predicted=predicted)
    forward = energy_forward(size, vocabulary, candidates=candidates, pairs=pairs, outputs=vocabulary)
    return once + steps * (3 * forward - linear(candidates, vocabulary, size.width))


def fixed_context(size: Size, problems: float, prompt: int) -> float:
    """Keys and values of prompts of one length, once."""
    return context(size, problems * prompt, problems * prompt**2)


def fixed_answer(size: Size, problems: float, prompt: int, answer: int) -> float:
    """Every block over all places of the answers, which see their prompt and each other."""
    return backbone(size, problems * answer, problems * answer * (prompt + answer))


def parallel_think(
    size: Size,
    vocabulary: int,
    *,
    problems: float,
    prompt: int,
    answer: int,
    gradients: float,
    forwards: float,
    start: bool,
) -> float:
    """Inference of an energy of whole answers: the prompt once, `gradients` energies with their slope,
    `forwards` without; a head's start is one pass more.

    A slope takes a pass back. What candidates attend to of each other moves on both sides of the product,
    so that there attention has two products to take back for one.
    """
    slots = problems * answer
    energy = energy_forward(size, vocabulary, candidates=slots, pairs=slots * (prompt + answer))
    own = size.layers * attention(size, slots * answer)
    total = fixed_context(size, problems, prompt) + gradients * (2 * energy + own) + forwards * energy
    if start:
        total += fixed_answer(size, problems, prompt, answer) + linear(slots, size.width, vocabulary)
    return total


def parallel_train(
    size: Size,
    vocabulary: int,
    *,
    problems: float,
    prompt: int,
    answer: int,
    steps: int,
    graph: str,
    contrast: bool,
    start: bool,
) -> float:
    """Training step of an energy of whole answers: as `ebt_train`, but for the attention of candidates to
    each other. A product of two moving factors costs 1 forward, 2 back, and 6 for the way back of these
    three: nine passes a differentiated step in place of six, three in place of two for one that is not."""
    slots = problems * answer
    energy = energy_forward(size, vocabulary, candidates=slots, pairs=slots * (prompt + answer))
    own = size.layers * attention(size, slots * answer)
    saved = linear(slots, vocabulary, size.width)
    differentiated, plain = 6 * energy + 3 * own, 2 * energy + own
    if graph == "last":
        descent = (steps - 1) * plain + differentiated - saved
    else:
        descent = steps * differentiated - (steps if graph == "step" else 1) * saved
    total = 3 * fixed_context(size, problems, prompt) + descent
    if start:
        total += 3 * (fixed_answer(size, problems, prompt, answer) + linear(slots, size.width, vocabulary))
    return total + (3 * energy - saved if contrast else 0.0)


def backbone_parameters(size: Size) -> int:
    """Parameters of blocks and last norm: the non-embedding count that the arms share."""
    w = size.width
    return size.layers * (4 * w * w + 3 * w * size.hidden + 2 * w) + w

"""Counted FLOPs: the one place that knows what a computation costs.

Convention: matrix products only, 2 FLOPs a multiply-add, as torch's FlopCounterMode counts them.
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
    """Forward pass of every block over `tokens` tokens with `pairs` query-key pairs a block."""
    return size.layers * (block_linears(size, tokens) + attention(size, pairs))


def context(size: Size, tokens: float, pairs: float) -> float:
    """Forward pass that ends with the keys and values of the last block: nobody reads its output."""
    full = (size.layers - 1) * (block_linears(size, tokens) + attention(size, pairs))
    return full + linear(tokens, size.width, 2 * size.width)


def energy_forward(size: Size, vocabulary: int, *, candidates: float, pairs: float) -> float:
    """One candidate pass: vocabulary map, backbone, energy head.

    `pairs` counts candidate-context pairs; a candidate's score with itself is no matrix product.
    """
    return (
        linear(candidates, vocabulary, size.width)
        + backbone(size, candidates, pairs)
        + linear(candidates, size.width, 1)
    )


def ebt_think(
    size: Size,
    vocabulary: int,
    *,
    tokens: float,
    context_pairs: float,
    candidates: float,
    pairs: float,
    steps: int,
) -> float:
    """Inference: the context once, then forward and input gradient a step."""
    once = context(size, tokens, context_pairs)
    return once + 2 * steps * energy_forward(size, vocabulary, candidates=candidates, pairs=pairs)


def ebt_train(
    size: Size,
    vocabulary: int,
    *,
    tokens: float,
    context_pairs: float,
    candidates: float,
    pairs: float,
    steps: int,
) -> float:
    """S1 training step: context forward and backward, six energy passes an inner step.

    Six: forward 1, gradient with respect to the candidate 1, backward through both 4. The candidate
    is a constant of its step, so the loss never asks for its gradient: that product with the
    vocabulary map is saved.
    """
    energy = energy_forward(size, vocabulary, candidates=candidates, pairs=pairs)
    saved = linear(candidates, vocabulary, size.width)
    return 3 * context(size, tokens, context_pairs) + steps * (6 * energy - saved)


def backbone_parameters(size: Size) -> int:
    """Parameters of blocks and last norm: the non-embedding count that the arms share."""
    w = size.width
    return size.layers * (4 * w * w + 3 * w * size.hidden + 2 * w) + w

"""FLOPs of a call by torch's counter, on the math attention kernel: it does not see the fused ones."""

from collections.abc import Callable
from unittest import mock

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from arena import decoder


def counted(call: Callable[[], object]) -> int:
    """Two FLOPs a multiply-add of every matrix product, those that the decoder takes by element included."""
    by_element = 0

    def dots(k_TBHD: Tensor, q_BHD: Tensor) -> Tensor:
        nonlocal by_element
        by_element += 2 * k_TBHD.numel()
        return plain_dots(k_TBHD, q_BHD)

    def mixed(weights_TBH: Tensor, v_TBHD: Tensor) -> Tensor:
        nonlocal by_element
        by_element += 2 * v_TBHD.numel()
        return plain_mixed(weights_TBH, v_TBHD)

    plain_dots, plain_mixed = decoder.dots, decoder.mixed
    with (
        mock.patch.object(decoder, "dots", dots),
        mock.patch.object(decoder, "mixed", mixed),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        call()
    return counter.get_total_flops() + by_element

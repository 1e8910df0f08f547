"""Matrix products of the decoder and the head, through the faster of the two libraries PyTorch ships on a CPU.

PyTorch hands float32 products to MKL. On AMD processors with AVX-512, MKL stays with its AVX2 code; oneDNN, which
PyTorch also carries and reaches only through `torch.compile` or narrower types, uses AVX-512 there and is 1.5 to 2.4
times as fast. It computes the same float32 products. Elsewhere, and where ``torch.backends.mkldnn.enabled`` is False,
these functions are PyTorch's own. The choice depends on the machine alone, so a resumed run makes it again.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


@cache
def onednn_is_faster() -> bool:
    """Whether this is a processor on which oneDNN has the better float32 products."""
    capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)()
    return (
        "AMD" in capabilities.get("cpu_name", "")
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``, differentiable once; x [..., C], weight [N, C]."""
    if not _takes(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Linear.apply(x, weight, bias)
    return _onednn(x, weight, bias)


def _takes(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and type(weight) in (Tensor, torch.nn.Parameter)  # not a tensor that several processes share
        and x.numel() > 0
        and bool(torch.backends.mkldnn.enabled)
        and not torch.compiler.is_compiling()
        and onednn_is_faster()
    )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        on_x, on_weight, on_bias = ctx.needs_input_grad
        rows, flat = grad.flatten(0, -2), x.flatten(0, -2)
        return (
            _onednn(grad, weight.t()) if on_x else None,
            weight_gradient(rows, flat) if on_weight else None,
            rows.sum(0) if on_bias else None,
        )


def weight_gradient(grad_MN: Tensor, x_MC: Tensor) -> Tensor:
    """``grad.T @ x``; the wider of the two is best on the right of oneDNN's product."""
    if grad_MN.shape[1] > x_MC.shape[1]:
        return _onednn(x_MC.t(), grad_MN.t()).t()
    return _onednn(grad_MN.t(), x_MC.t())

"""Element-wise parts of a decoder layer, with their derivatives written out.

On a CPU the matrix products of a small model take half of a training step; the rest is passes over memory. Written by
hand, norm, rotary embedding and gated activation need about half as many passes as autograd's own. In narrower types
the plain formulas are used, rounded where the Hugging Face modules round; so they are under torch.compile, which
fuses them itself.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm of the last axis, computed in float32 like the Hugging Face modules."""
    if x.dtype != torch.float32 or torch.compiler.is_compiling():
        return weight * F.rms_norm(x.float(), (x.shape[-1],), None, eps).to(x.dtype)
    if torch.is_grad_enabled():
        return _RMSNorm.apply(x, weight, eps)
    return (x * _scale(x, eps)).mul_(weight)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of the last axis; cos and sin hold half of it and broadcast."""
    if torch.compiler.is_compiling():
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return _Rotate.apply(x, cos, sin) if torch.is_grad_enabled() else _turned(x, cos, sin, 1)


def norm_rotate(x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
    """`rms_norm`, then `rotate`."""
    if x.dtype != torch.float32 or torch.compiler.is_compiling():
        return rotate(rms_norm(x, weight, eps), cos, sin)
    if torch.is_grad_enabled():
        return _NormRotate.apply(x, weight, cos, sin, eps)
    return _turned((x * _scale(x, eps)).mul_(weight), cos, sin, 1)


def gated_silu(gate_up: Tensor) -> Tensor:
    """silu of the first half of the last axis, times the second half."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _GatedSiLU.apply(gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


def _scale(x: Tensor, eps: float) -> Tensor:
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    return square.div_(x.shape[-1]).add_(eps).rsqrt_()


def _norm_backward(grad: Tensor, unit: Tensor, scale: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    inner = grad * weight
    along = torch.linalg.vecdot(inner, unit).unsqueeze(-1).div_(unit.shape[-1])
    grad_weight = (grad * unit).flatten(0, -1 - weight.dim()).sum(0)
    return torch.addcmul(inner, unit, along, value=-1).mul_(scale), grad_weight


def _turned(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    pairs = x.unflatten(-1, (2, x.shape[-1] // 2))
    out = pairs * cos.unsqueeze(-2)
    out[..., 0, :].addcmul_(pairs[..., 1, :], sin, value=-sign)
    out[..., 1, :].addcmul_(pairs[..., 0, :], sin, value=sign)
    return out.flatten(-2)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = _scale(x, eps)
        unit = x * scale
        ctx.save_for_backward(unit, scale, weight)
        return unit * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        return *_norm_backward(grad, *ctx.saved_tensors), None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, sin, -1), None, None


class _NormRotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
        scale = _scale(x, eps)
        unit = x * scale
        ctx.save_for_backward(unit, scale, weight, cos, sin)
        return _turned(unit * weight, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        unit, scale, weight, cos, sin = ctx.saved_tensors
        return *_norm_backward(_turned(grad, cos, sin, -1), unit, scale, weight), None, None, None


class _GatedSiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        out = torch.empty_like(gate_up)
        out_gate, out_up = out.chunk(2, dim=-1)
        torch.mul(grad, F.silu(gate), out=out_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=out_gate)
        return out

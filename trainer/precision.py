"""Mixed precision: float32 weights that compute in bfloat16, and products of narrow matrices with float32 results.

An optimiser step moves a weight by about the learning rate, and bfloat16 keeps eight bits: at a rate of 1e-6 nearly all
steps would be rounded away. So weights stay in float32 and are converted where they are used.

Logits and their gradients need float32. The product of two bfloat16 numbers is exact in float32, so a tensor core that
adds up in float32 and is not made to round its result computes what converting both operands to float32 first would,
many times faster.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .products import linear


def compute_dtype(model: Any) -> torch.dtype | None:
    """What a model with float32 weights computes in, when that is narrower; None = the type of its weights."""
    found: torch.dtype | None = getattr(model, "compute_dtype", None)
    return found


def dtype_of(model: Any) -> torch.dtype:
    """What a model computes in."""
    return compute_dtype(model) or next(model.parameters()).dtype


def computing(model: Any) -> Any:
    """Context in which a Hugging Face module computes in `compute_dtype`."""
    dtype = compute_dtype(model)
    return torch.autocast(model.device.type, dtype=dtype, enabled=dtype is not None)


def has_wide_products(tensor: Tensor) -> bool:
    """Whether products of such tensors can keep their float32 sums: bfloat16 on a CUDA device."""
    return tensor.is_cuda and tensor.dtype == torch.bfloat16


def wide_linear(x_NC: Tensor, weight_VC: Tensor) -> Tensor:
    """``x @ weight.T`` in float32 (float64 stays) [N, V]; no gradient flows."""
    if has_wide_products(x_NC) and x_NC.dtype == weight_VC.dtype:
        return torch.mm(x_NC, weight_VC.t(), out_dtype=torch.float32)
    dtype = torch.promote_types(x_NC.dtype, torch.float32)
    return linear(x_NC.to(dtype), weight_VC.to(dtype))


def add_wide_product_(out_VC: Tensor, a_VN: Tensor, b_NC: Tensor) -> None:
    """Add ``a @ b`` of narrow matrices to a float32 matrix in place."""
    torch.addmm(out_VC, a_VN, b_NC, out_dtype=torch.float32, out=out_VC)

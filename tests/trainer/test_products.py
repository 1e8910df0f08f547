"""Products through oneDNN are those of PyTorch, with their derivatives, and are taken only where they are faster."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.trainer import products


@pytest.fixture
def through_onednn(monkeypatch):
    """Take oneDNN whatever the processor, and count its products."""
    calls = []
    product = products._onednn
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(products, "_onednn", lambda *a: calls.append(1) or product(*a))
    return calls


def both(rows, inner, outer, bias, lead=()):
    torch.manual_seed(rows + inner + outer)
    x = torch.randn(*lead, rows, inner)
    weight = torch.randn(outer, inner)
    offset = torch.randn(outer) if bias else None
    grad = torch.randn(*lead, rows, outer)
    found = []
    for product in (products.linear, F.linear):
        leaves = [t.clone().requires_grad_() for t in (x, weight, offset) if t is not None]
        out = product(*leaves)
        out.backward(grad)
        found.append([out.detach(), *(leaf.grad for leaf in leaves)])
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.sampled_from([(), (3,), (2, 3)]))
def test_values_and_gradients_are_those_of_pytorch(rows, inner, outer, bias, lead):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "onednn_is_faster", lambda: True)
        for mine, theirs in zip(*both(rows, inner, outer, bias, lead), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_oneDNN_is_taken_for_plain_float32_on_a_cpu(through_onednn):
    x, weight = torch.randn(4, 8), torch.randn(3, 8)
    products.linear(x, weight)
    assert len(through_onednn) == 1
    products.linear(x.requires_grad_(), weight.requires_grad_()).sum().backward()
    assert len(through_onednn) == 4
    with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False):
        products.linear(x, weight)
    products.linear(x.double(), weight.double())
    products.linear(x.bfloat16(), weight.bfloat16())
    assert products.linear(x[:0], weight).shape == (0, 3)
    assert len(through_onednn) == 4


def test_frozen_weights_get_no_gradient(through_onednn):
    x, weight = torch.randn(4, 8, requires_grad=True), torch.randn(3, 8)
    products.linear(x, weight).sum().backward()
    assert len(through_onednn) == 2 and weight.grad is None

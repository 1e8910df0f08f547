"""What vLLM's CPU build needs so that its weights can be updated. Import it in every process that holds the model.

On CPU vLLM packs the weight of each linear layer into a oneDNN handle. The handle of a head that is tied to the
embedding is not rebuilt by a later update: the layers are new, the head is old, and nothing reports an error. With the
plain matrix product in its place there is no second copy that could go stale.

A server takes it as ``--worker-extension-cls palaestra.trainer.engines.vllm_cpu.PlainWeights``.
"""

from __future__ import annotations

from typing import Any


def keep_plain_weights() -> bool:
    """Switch the packing off, on CPU only; call it before vLLM builds a model.

    Returns:
        Whether this platform needed it.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return False
    import torch
    from vllm.model_executor.layers import utils

    def plain(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    utils.dispatch_cpu_unquantized_gemm = plain
    return True


class PlainWeights:
    """A worker extension whose import has the effect above in the server's worker processes."""

    def palaestra_plain_weights(self) -> bool:
        """Whether the worker runs with unpacked weights."""
        return _ACTIVE


def _activate() -> bool:
    import sys

    # Importing this module outside a vLLM process (documentation tools, tests) does nothing.
    return keep_plain_weights() if "vllm" in sys.modules else False


_ACTIVE = _activate()

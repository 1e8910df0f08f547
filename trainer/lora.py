"""Low-rank adapters through peft, merged whenever weights leave the learner."""

from __future__ import annotations

from typing import Any


def add_adapters(model: Any, rank: int, alpha: float, seed: int = 0) -> Any:
    """Freeze the model and put adapters on every linear projection.

    Args:
        model: a Hugging Face model.
        rank: rank of each adapter.
        alpha: adapters are scaled by alpha / rank.
        seed: initialisation seed of the adapters.

    Returns:
        The peft model; at the start it computes exactly what `model` does.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    options: dict[str, Any] = {"r": rank, "lora_alpha": alpha, "target_modules": "all-linear", "lora_dropout": 0.0}
    settings = LoraConfig(task_type="CAUSAL_LM", **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, settings).eval()


def is_adapted(model: Any) -> bool:
    """Whether the model carries adapters."""
    return hasattr(model, "peft_config")


def effective_weight(linear: Any) -> Any:
    """The weight a linear layer acts with: its own, plus its adapter's product when it has one (autograd flows)."""
    if not hasattr(linear, "lora_A"):
        return linear.weight
    weight = linear.base_layer.weight
    for name in linear.active_adapters:
        weight = weight + linear.scaling[name] * (linear.lora_B[name].weight @ linear.lora_A[name].weight)
    return weight


def merged_state_dict(model: Any) -> dict[str, Any] | None:
    """Weights of the base model with adapters merged in, or None when there are no adapters."""
    if not is_adapted(model):
        return None
    base = model.get_base_model()
    state = {}
    for name, module in base.named_modules():
        if hasattr(module, "lora_A"):
            state[f"{name}.weight"] = effective_weight(module).detach().to(module.base_layer.weight.dtype)
    for name, tensor in base.state_dict().items():
        plain = name.replace(".base_layer", "")
        if ".lora_" not in name and plain not in state:
            state[plain] = tensor
    return state

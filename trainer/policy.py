"""The policy: a Hugging Face model with its tokenizer, loaded from a name and saved as a folder others can open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import ConfigError, PolicyConfig


@dataclass
class Policy:
    """A model, its tokenizer, and the tokens that end a turn."""

    model: Any
    tokenizer: Any
    end_ids: tuple[int, ...]

    @property
    def device(self) -> Any:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def save(self, folder: Path) -> None:
        """Write safetensors, configuration and tokenizer; transformers and vLLM open the folder."""
        from .lora import merged_state_dict

        state = merged_state_dict(self.model)
        inner = self.model
        if state is None:
            inner.save_pretrained(folder)
        else:
            inner.get_base_model().save_pretrained(folder, state_dict=state)
        self.tokenizer.save_pretrained(folder)


def load_policy(config: PolicyConfig, *, seed: int = 0) -> Policy:
    """Build the tiny model or load one from a folder or the Hugging Face cache.

    Raises:
        ConfigError: the model cannot be loaded, has no chat template, or does not fit into memory.
    """
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # the run has one of its own
    device = torch.device(_pick_device(config.device))
    dtype = torch.bfloat16 if config.dtype == "bfloat16" else torch.float32
    if config.model == "tiny":
        from .tiny import tiny_model, tiny_tokenizer

        tokenizer = tiny_tokenizer(config.characters)
        try:
            model = tiny_model(
                len(tokenizer),
                layers=config.layers,
                hidden=config.hidden,
                heads=config.heads,
                mlp=config.mlp,
                seed=seed,
            )
        except ValueError as error:
            raise ConfigError(str(error)) from None
    else:
        model, tokenizer = _load_pretrained(config.model, dtype)
    model = with_weights_in(model.to(device), dtype).eval()
    if config.dtype == "mixed" or (config.dtype == "auto" and device.type == "cuda"):
        model.compute_dtype = torch.bfloat16
    if config.lora_rank:
        from .lora import add_adapters

        model = add_adapters(model, config.lora_rank, config.lora_alpha, seed)
    return Policy(model, tokenizer, _end_ids(model, tokenizer))


def with_weights_in(model: Any, dtype: Any) -> Any:
    """The model with its weights in another type. Buffers stay: rounded to bfloat16, the frequencies of a rotary
    embedding turn a position of some thousands by radians too much or too little.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def _pick_device(wanted: str) -> str:
    import torch

    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def _load_pretrained(name: str, dtype: Any) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if (name.startswith((".", "/", "~")) or name.count("/") > 1) and not Path(name).is_dir():
        raise ConfigError(f"policy.model = {name!r}: there is no such folder")
    try:
        config = AutoConfig.from_pretrained(name)
        _refuse_if_too_large(name, config, dtype)
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f"policy.model = {name!r} cannot be loaded: {first}") from None
    if tokenizer.chat_template is None:
        raise ConfigError(
            f"policy.model = {name!r}: its tokenizer has no chat template; use an instruction-tuned model"
        )
    vocabulary = int(model.config.get_text_config().vocab_size)
    if len(tokenizer) > vocabulary:
        raise ConfigError(
            f"policy.model = {name!r}: the tokenizer knows {len(tokenizer)} tokens and the model {vocabulary}; "
            "they do not belong together"
        )
    return model, tokenizer


def _refuse_if_too_large(name: str, config: Any, dtype: Any) -> None:
    """Training keeps weights, gradients and two moments; refuse before loading what cannot fit.

    Several processes divide these, and one of them, the one that loads, has the weights once more.
    """
    import os

    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    world, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if torch.cuda.is_available():
        free, here = torch.cuda.mem_get_info()[0], 1
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    copies = 4 if world == 1 else 1 + 4 * here / world
    needed = parameters * dtype.itemsize * copies
    if needed > free:
        raise ConfigError(
            f"policy.model = {name!r} has {parameters / 1e9:.2f}B parameters; training it takes about "
            f"{needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; use a smaller model, policy.lora_rank or "
            "more processes"
        )


def _end_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    found: list[Any] = []
    for source in (tokenizer.eos_token_id, getattr(model.generation_config, "eos_token_id", None)):
        found += source if isinstance(source, list) else [source]
    return tuple(dict.fromkeys(i for i in found if i is not None))

"""A few-layer Qwen3 with a character tokenizer, built in code: small enough to learn on a laptop, real enough to ship.

The result is an ordinary Hugging Face pair, so transformers and vLLM open its saved folder. A chat message ``527140``
renders as the prompt ``527140>``; an assistant message is followed by the end token.
"""

from __future__ import annotations

import string
from typing import Any

PAD, END, UNKNOWN, ARROW = "<|pad|>", "<|end|>", "<|unk|>", ">"
ALL_CHARACTERS = "".join(c for c in string.printable if c not in "\r\x0b\x0c")

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] or '' }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% else %}>{% endif %}{% endfor %}"
)


def tiny_tokenizer(characters: str = "") -> Any:
    """One token a character.

    Args:
        characters: the alphabet; empty means all printable ASCII. Anything else becomes the unknown token.

    Returns:
        A `PreTrainedTokenizerFast` with a chat template.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(set(characters or ALL_CHARACTERS) | {ARROW})
    vocabulary = {token: index for index, token in enumerate([PAD, END, UNKNOWN, *alphabet])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


def tiny_model(
    vocabulary: int, *, layers: int = 2, hidden: int = 64, heads: int = 2, mlp: int = 0, seed: int = 0
) -> Any:
    """A randomly initialised Qwen3 in float32.

    Args:
        vocabulary: number of tokens; the embedding is tied to the head.
        layers: number of layers.
        hidden: width, divisible by `heads`.
        heads: attention heads, all of them with their own keys.
        mlp: width of the gated MLP; 0 means 2.5 times `hidden`, rounded to 32.
        seed: initialisation seed; the global generator is left as it was.

    Raises:
        ValueError: `hidden` is not a multiple of twice `heads`.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    if hidden % (2 * heads):
        raise ValueError(f"policy.hidden is {hidden}, which {heads} heads cannot share; give a multiple of {2 * heads}")
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=mlp or max(32, round(2.5 * hidden / 32) * 32),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden // heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        initializer_range=hidden**-0.5 / 2,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config).float().eval()

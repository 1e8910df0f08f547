"""Keys and values while groups of rows continue their prompts, and the attention of one new token a row over them.

A prompt is stored once for its group. What rows add is stored in blocks that double, not in one tensor with room for
the longest turn: the part of a tensor that is filled so far is read at half the speed of a full one, and turns that
stay short take no memory for more.

Axes: B rows, G groups, J rows a group (B = G * J), K key-value heads, R query heads of one key-value head, S prompt
positions, T continuation positions, D head size. Heads come before the rows of a group, so that one product serves a
group's prompt and nothing needs another order in between.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 32


class Blocks:
    """What rows added so far, [G, K, J, T, D] in pieces along T.

    Args:
        limit: most positions that are ever added.
        pieces: full pieces to begin with.
    """

    def __init__(self, limit: int, pieces: Sequence[Tensor] = ()) -> None:
        self.limit = limit
        self.pieces = list(pieces)
        self.filled = self.room = sum(piece.shape[3] for piece in self.pieces)

    def append(self, new_GKJD: Tensor) -> None:
        """Add one position."""
        if self.filled == self.room:
            size = min(max(BLOCK, self.filled), self.limit - self.filled)
            self.pieces.append(new_GKJD.new_empty(*new_GKJD.shape[:3], size, new_GKJD.shape[3]))
            self.room += size
        last = self.pieces[-1]
        last[..., self.filled - self.room, :] = new_GKJD
        self.filled += 1

    def filled_pieces(self) -> list[Tensor]:
        """Views of what is filled."""
        if self.filled == self.room:
            return self.pieces
        return [*self.pieces[:-1], self.pieces[-1][..., : self.filled - self.room, :]]

    def kept(self, keep: Tensor, share: int) -> Blocks:
        """Some rows, each a group of its own."""
        pieces = [piece[keep // share, :, keep % share].unsqueeze(2) for piece in self.filled_pieces()]
        return Blocks(self.limit, pieces)


class GroupCache:
    """Keys and values of all layers.

    Args:
        keys: a layer [G, K, S, D].
        values: a layer [G, K, S, D].
        lengths_G: how many of the S positions are a prompt's own; the rest is padding.
        share: rows a group.
        limit: most tokens a row adds.
    """

    def __init__(
        self, keys: Sequence[Tensor], values: Sequence[Tensor], lengths_G: Tensor, share: int, limit: int
    ) -> None:
        self.prompt = list(zip(keys, values, strict=True))
        self.lengths_G, self.share = lengths_G, share
        self.own = [(Blocks(limit), Blocks(limit)) for _ in self.prompt]
        slots = torch.arange(keys[0].shape[2], device=lengths_G.device)
        bias = torch.zeros(len(lengths_G), len(slots), device=lengths_G.device, dtype=keys[0].dtype)
        bias.masked_fill_(slots >= lengths_G[:, None], -torch.inf)
        self._bias = bias.repeat_interleave(keys[0].shape[1], 0)[:, None]  # [G * K, 1, S]
        self._nothing = bias.new_zeros(1)

    def attend(self, layer: int, q_BHD: Tensor, k_BKD: Tensor, v_BKD: Tensor) -> Tensor:
        """Add a token to every row and let it attend to its prompt and its row, itself included [B, H * D]."""
        rows, heads, dim = q_BHD.shape
        groups, share, kv = rows // self.share, self.share, k_BKD.shape[1]
        repeat, scale = heads // kv, dim**-0.5
        keys, values = self.own[layer]
        keys.append(k_BKD.view(groups, share, kv, dim).transpose(1, 2))
        values.append(v_BKD.view(groups, share, kv, dim).transpose(1, 2))
        prompt_keys, prompt_values = (t.flatten(0, 1) for t in self.prompt[layer])
        slots = prompt_keys.shape[1]
        # Rows of a group put their queries side by side, so the group reads its prompt's keys once.
        together = q_BHD.view(groups, share, kv, repeat, dim).transpose(1, 2).reshape(groups * kv, share * repeat, dim)
        alone = together.reshape(rows * kv, repeat, dim)
        scores = [torch.baddbmm(self._bias, together, prompt_keys.mT, alpha=scale).view(rows * kv, repeat, slots)]
        for piece in keys.filled_pieces():
            scores.append(torch.baddbmm(self._nothing, alone, piece.flatten(0, 2).mT, beta=0, alpha=scale))
        weights = torch.cat(scores, -1).softmax(-1)
        on_prompt = weights.view(groups * kv, share * repeat, -1)[..., :slots]
        out = torch.bmm(on_prompt, prompt_values).view(rows * kv, repeat, dim)
        start = slots
        for piece in values.filled_pieces():
            stop = start + piece.shape[3]
            out.baddbmm_(weights[..., start:stop], piece.flatten(0, 2))
            start = stop
        return out.view(groups, kv, share, repeat * dim).transpose(1, 2).reshape(rows, heads * dim)

    def kept(self, keep: Tensor) -> GroupCache:
        """Some rows; afterwards every row has its own copy of its prompt."""
        group = keep // self.share
        keys, values = ([t[group] for t in tensors] for tensors in zip(*self.prompt, strict=True))
        cache = GroupCache(keys, values, self.lengths_G[group], 1, 0)
        cache.own = [(k.kept(keep, self.share), v.kept(keep, self.share)) for k, v in self.own]
        return cache

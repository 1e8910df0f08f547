"""Texts of single tokens, from the tokenizer stored beside a run's checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class TokenTexts:
    """Decodes ids one by one; without a tokenizer every token is shown by its number, and a note says why."""

    tokenizer: Any = None
    note: str = ""

    @classmethod
    def of_run(cls, folder: Path) -> TokenTexts:
        """Find tokenizer.json in the run's newest checkpoint."""
        found = sorted(folder.glob("**/tokenizer.json"), key=lambda path: path.stat().st_mtime)
        if not found:
            return cls(note="no tokenizer.json in this run; tokens are shown by id")
        try:
            from tokenizers import Tokenizer

            return cls(Tokenizer.from_file(str(found[-1])))
        except Exception as error:  # a damaged file is a note on the page, never a broken page
            return cls(note=f"the tokenizer cannot be read ({error}); tokens are shown by id")

    def decode(self, ids: list[Any]) -> list[str]:
        """The text of each id [T]."""
        if self.tokenizer is None:
            return [str(token) for token in ids]
        return [
            self.tokenizer.decode([token], skip_special_tokens=False)
            if isinstance(token, int) and token >= 0
            else str(token)
            for token in ids
        ]

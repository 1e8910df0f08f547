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

    @property
    def ready(self) -> bool:
        """Whether a tokenizer was found; a run that has just begun writes one later."""
        return self.tokenizer is not None

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

    def decode(self, ids: Any) -> list[str]:
        """The text of each id [T]; what is no list of ids gives none."""
        if not isinstance(ids, list):
            return []
        return [self._one(token) for token in ids]

    def _one(self, token: Any) -> str:
        if self.tokenizer is None or not isinstance(token, int) or not 0 <= token < 2**31:
            return f"{token} "
        text = self.tokenizer.decode([token], skip_special_tokens=False)
        # Parts of a character and pieces that decode to nothing are shown as the vocabulary has them.
        return text if text and "\ufffd" not in text else self.tokenizer.id_to_token(token) or str(token)

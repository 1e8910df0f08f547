from __future__ import annotations


def add_dialects(app, state) -> None:
    pass

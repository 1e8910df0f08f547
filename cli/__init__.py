"""The command line: one module a verb. `palaestra VERB` is cli/VERB.py, found by its name."""

from .app import build_app, main

__all__ = ["build_app", "main"]

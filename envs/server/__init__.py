"""The environment server. `create_app` makes the ASGI application, `serve` runs it."""

from .app import create_app, serve
from .sessions import Limits

__all__ = ["Limits", "create_app", "serve"]

"""The judge server: `create_app` makes the ASGI application, `serve` runs it until a signal."""

from .app import create_app
from .config import JudgeServerConfig, build_service
from .run import serve

__all__ = ["JudgeServerConfig", "build_service", "create_app", "serve"]

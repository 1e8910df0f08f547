"""`palaestra view`: look at runs in a browser, while they train or afterwards.

The server reads run folders and nothing else; it needs no torch, changes no file, and tolerates half-written lines.

    from palaestra.trainer.view import serve
    serve(["runs"], port=8500)
"""

from .app import create_app, serve

__all__ = ["create_app", "serve"]

"""What runs on the far side: the fork server, the confinement and the drivers of guest code.

These modules use the standard library alone and also run as the top-level package ``guest`` in an interpreter that
has no Palaestra installed (a container, a bare ``/usr/bin/python3``). They never import from the rest of the package.
"""

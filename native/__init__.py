"""The packet's way, compiled.

Each module has a ``.pxd`` with the structs and the inlined per-packet work, a ``.pyx`` that builds, owns and shows
its tables, and a ``.pyi`` with the types that Python sees.  Everything a packet meets is ``noexcept nogil``: no
allocation, no Python object, no exception.  :mod:`edge.compiler` is the only caller of the builders.
"""

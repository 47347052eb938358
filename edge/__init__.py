"""t1edge's data plane as Python sees it.

This package imports nothing on purpose: generated gRPC stubs live below it (``edge.v1``) and must be
importable without pulling in the engine.  Start reading at :mod:`edge.model` (what a configuration is),
:mod:`edge.reference` (what happens to a packet, readable) and :mod:`edge.runtime` (a running edge).
"""

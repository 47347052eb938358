"""The fleet: every edge of the cloud is kept at what the store says of it.

:mod:`~control.fleet.reconciler` compares what an edge should run with what it runs, and pushes what differs, through an
:class:`~control.fleet.access.EdgeAccess`: :mod:`~control.fleet.embedded` for edges in this process,
:mod:`control.api.remote_edge` for processes elsewhere.  One replica at a time does so,
:mod:`~control.fleet.leader` says which; its number, the epoch, goes with everything that it writes or pushes.
"""

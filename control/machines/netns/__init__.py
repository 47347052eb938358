"""Machines as namespaces of Linux: network, mounts, processes, host name and System V IPC of their own.

They share the host's kernel and see its files, read-only, below their own: they are for trying networks, and keep
nobody out who means harm.  :mod:`.driver` is what the rest of the program sees; namespaces are entered by a process of
its own alone, :mod:`.process`, which has one thread; :mod:`.wiring` connects, :mod:`.first` is a machine's first
process, :mod:`.calls` has what Python's library lacks.
"""

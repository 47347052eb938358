"""``t1edge serve`` as users run it: a process with files, signals, clients, faults."""

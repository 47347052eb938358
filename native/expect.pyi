"""The parts of the expectations that are not inlined: nothing of it is seen from Python."""

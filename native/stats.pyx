"""The closed vocabulary of results as native code numbers it; :mod:`edge.verdicts` mirrors it for Python."""

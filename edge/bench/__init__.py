"""What ``t1edge bench`` measures, and what it compares."""

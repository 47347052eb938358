"""Reassembly: the memory of datagrams in pieces, and the judgement on each piece."""

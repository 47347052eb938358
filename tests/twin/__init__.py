"""A second opinion: the same edge as an nftables rule set in a network namespace, beside the engine."""

"""Not emulated yet: IPsec tunnels.

A document that configures it is refused with NOT_EMULATED (:mod:`edge.document`): nothing is ignored in silence.
"""

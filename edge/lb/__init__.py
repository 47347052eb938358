"""Not emulated yet: the load balancer.

A document that configures it is refused with NOT_EMULATED (:mod:`edge.document`): nothing is ignored in silence.
"""

"""What runs a tenant's machines: drivers behind one interface, and the keeper that brings them to what is wished.

:mod:`.wishes` has the values, :mod:`.driver` the interface, :mod:`.simulated` and :mod:`.netns` are the drivers.
"""

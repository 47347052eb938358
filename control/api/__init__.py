"""gRPC of the control plane: protobuf stops here.

:mod:`~control.api.dispatch` is the way of every call: who calls, may they, whose is it, the unit of work, the audit
record, the answer.  The services (:mod:`~control.api.orgs` and so on) have one function a method,
:mod:`~control.api.convert` turns messages into values and back, :mod:`~control.api.errors` has the table of status
codes.
"""

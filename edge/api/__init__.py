"""gRPC: the only place where protobuf messages exist.  Messages become values of the model at this border and back.

:mod:`~edge.api.errors` has the one table of reasons and status codes, which :mod:`~edge.api.rich` writes,
:mod:`~edge.api.convert` turns the model into messages, :mod:`~edge.api.events` events into bytes,
:mod:`~edge.api.requests` messages into the model, :mod:`~edge.api.service` is EdgeService over a
:class:`edge.gateway.Gateway`, :mod:`~edge.api.tls` its credentials, :mod:`~edge.api.server` the server around it, of
which :mod:`~edge.api.host` is what any server needs, and :mod:`~edge.api.client` the other end.
"""

"""Messages and stubs of the gRPC contract, generated from ``proto/edge/v1`` by the build and not committed."""

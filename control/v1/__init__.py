"""Messages and stubs of the gRPC contract, generated from ``proto/control/v1`` by the build and not committed."""

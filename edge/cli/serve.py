"""``t1edge serve``."""

from __future__ import annotations

import click

from edge.cli.common import EdgeCommand, ExitCode, allow_unsupported_option, edge_argument
from edge.errors import EdgeError

_FAILURES = frozenset({"CANNOT_LISTEN", "FORWARDING_FAILED", "PORT_FAILED", "STORAGE_FAILED"})


class ServeCommand(EdgeCommand):
    """A service that cannot take its place, or hold it, exits 3, one that is told wrong 2."""

    def exit_code(self, error: EdgeError) -> ExitCode:
        """How the command ends because of ``error``."""
        return ExitCode.UNREACHABLE if error.reason in _FAILURES else ExitCode.USAGE


@click.command(
    "serve",
    cls=ServeCommand,
    epilog="Example:  t1edge serve acme.yaml --data /var/lib/t1edge \\\n"
    "              --port INTERNET=link:eth1 --port LAN-ACME=tap:lan0",
)
@edge_argument()
@click.option(
    "--listen", metavar="ADDRESS", default="127.0.0.1:7440", show_default=True, help="gRPC: HOST:PORT or unix:PATH."
)
@click.option(
    "--metrics", metavar="ADDRESS", default="127.0.0.1:9744", show_default=True, help="Prometheus: HOST:PORT, or none."
)
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Keep revisions of the configuration here (default: in memory).",
)
@click.option(
    "--port",
    "ports",
    metavar="NAME=KIND[:DEVICE]",
    multiple=True,
    help="What a port of the edge is: memory (default), tap:NAME or link:INTERFACE.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Threads that forward.",
)
@click.option("--tls-cert", metavar="FILE", help="PEM: the own certificate; clients have to show theirs then.")
@click.option("--tls-key", metavar="FILE", help="PEM: its key.")
@click.option("--tls-ca", metavar="FILE", help="PEM: who may have signed a client's certificate.")
@allow_unsupported_option
def command(
    edge: str,
    listen: str,
    metrics: str,
    data: str | None,
    ports: tuple[str, ...],
    workers: int,
    tls_cert: str | None,
    tls_key: str | None,
    tls_ca: str | None,
    allow_unsupported: bool,
) -> None:
    """Run the edge in the file EDGE as a service: packets between its ports, gRPC, metrics.

    With --data the configuration that was confirmed last comes back after a restart, and EDGE is what a new directory
    begins with. SIGHUP applies EDGE as it is then, SIGTERM stops. Without TLS only this machine can connect.
    """
    import asyncio
    from pathlib import Path

    from edge.serving import ServeSettings, serve

    tls = None
    if tls_cert or tls_key or tls_ca:
        from edge.api.client import tls_files

        try:
            tls = tls_files(tls_cert, tls_key, tls_ca)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    settings = ServeSettings(
        file=edge,
        listen=listen,
        metrics=None if metrics == "none" else metrics,
        data=Path(data) if data else None,
        ports=ports,
        tls=tls,
        allow_unsupported=allow_unsupported,
        workers=workers,
    )
    asyncio.run(serve(settings))

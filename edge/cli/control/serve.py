"""``t1edge control serve``."""

from __future__ import annotations

import click

from edge.cli.common import EdgeCommand, ExitCode
from edge.cli.remote import options_together
from edge.errors import EdgeError

_FAILURES = frozenset({"CANNOT_LISTEN", "STORAGE_FAILED"})


class ServeCommand(EdgeCommand):
    """A service that cannot take its place exits 3, one that is told wrong 2."""

    def exit_code(self, error: EdgeError) -> ExitCode:
        """How the command ends because of ``error``."""
        return ExitCode.UNREACHABLE if error.reason in _FAILURES else ExitCode.USAGE


def _uplinks(texts: tuple[str, ...]) -> dict[str, str]:
    """NETWORK=DEVICE, each once."""
    found = {}
    for text in texts:
        network, equals, device = text.partition("=")
        if not (network and equals and 0 < len(device.encode()) <= 15) or "/" in device:
            raise click.UsageError(f"--uplink {text}: expected NETWORK=DEVICE, a device of up to 15 characters")
        found[network] = device
    return found


store_options = options_together(
    click.option("--database", metavar="URL", default="", envvar="T1EDGE_DATABASE",
                 help="postgresql://...; default: SQLite in DIR. T1EDGE_DATABASE keeps a password off the command "
                      "line."),
    click.option("--key-file", metavar="FILE", type=click.Path(dir_okay=False),
                 help="The keys of secrets (default: DIR/keys)."),
)  # fmt: skip
"""Where everything is kept, besides in ``--data``."""


@click.command("serve", cls=ServeCommand, epilog="Example:  t1edge control serve --data /var/lib/t1edge/control")
@click.option(
    "--data", metavar="DIR", required=True, type=click.Path(file_okay=False),
    help="The database, its lock, the keys, the first login.",
)  # fmt: skip
@click.option(
    "--listen", metavar="ADDRESS", default="127.0.0.1:7441", show_default=True, help="gRPC: HOST:PORT or unix:PATH."
)
@click.option(
    "--metrics", metavar="ADDRESS", default="127.0.0.1:9745", show_default=True, help="Prometheus: HOST:PORT, or none."
)
@store_options
@click.option(
    "--machines", type=click.Choice(["simulated", "netns", "none"]), default="simulated", show_default=True,
    help="What runs machines: netns makes network namespaces and needs root; none leaves them to another replica.",
)  # fmt: skip
@click.option(
    "--uplink", "uplinks", metavar="NETWORK=DEVICE", multiple=True,
    help="With netns: make the interface DEVICE, on the provider network regions/ID/providerNetworks/ID; repeatable.",
)  # fmt: skip
@click.option("--enroll", metavar="ADDRESS", default="", help="Where edges on other machines enrol: HOST:PORT.")
@click.option("--tls-cert", metavar="FILE", help="PEM: the own certificate; clients have to show theirs then.")
@click.option("--tls-key", metavar="FILE", help="PEM: its key.")
@click.option("--tls-ca", metavar="FILE", help="PEM: who may have signed a client's certificate.")
def command(
    data: str,
    listen: str,
    metrics: str,
    database: str,
    key_file: str | None,
    machines: str,
    uplinks: tuple[str, ...],
    enroll: str,
    tls_cert: str | None,
    tls_key: str | None,
    tls_ca: str | None,
) -> None:
    """Run the control plane in the directory DIR, which it makes at the first start.

    The provider's first administrator then logs in with the one-time password in DIR/first-login. Without TLS only this
    machine can connect. SIGTERM stops.
    """
    import asyncio
    from pathlib import Path

    from control.serving import ControlSettings, serve
    from edge.api.client import tls_files

    try:
        tls = tls_files(tls_cert, tls_key, tls_ca)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    settings = ControlSettings(
        data=Path(data),
        listen=listen,
        metrics=None if metrics == "none" else metrics,
        database=database,
        key_file=Path(key_file) if key_file else None,
        tls=tls,
        machines=machines,
        uplinks=_uplinks(uplinks),
        enroll=enroll,
    )
    asyncio.run(serve(settings))

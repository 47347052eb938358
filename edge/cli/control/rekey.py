"""``t1edge control rekey``."""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli.common import json_option, plural, write_json, write_result
from edge.cli.control.serve import ServeCommand, store_options


@click.command("rekey", cls=ServeCommand, epilog="Example:  t1edge control rekey --data /var/lib/t1edge/control")
@click.option(
    "--data", metavar="DIR", required=True, type=click.Path(file_okay=False),
    help="That of a control plane that does not run at the moment.",
)  # fmt: skip
@store_options
@json_option
def command(data: str, database: str, key_file: str | None, as_json: bool) -> None:
    """Encrypt every secret again with the first key of the key file, all or none.

    Afterwards the other keys can leave the file.
    """
    from control.rekey import rekey
    from control.serving import ControlSettings
    from control.surroundings import Surroundings

    settings = ControlSettings(Path(data), "", database=database, key_file=Path(key_file) if key_file else None)
    done = rekey(settings, Surroundings())
    if as_json:
        write_json({"key": done.key, "encryptedAgain": done.again, "asTheyWere": done.before})
        return
    write_result(f"{plural(done.again, 'secret')} encrypted again with the key {done.key}, {done.before} were already")

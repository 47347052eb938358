"""Every secret is encrypted again with a new key, and the old one can go."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from control.access.authority import authority_of
from control.access.vault import seed_place
from control.store.schema import MACHINE_STATES, METADATA
from control.store.unit import PROVIDER
from edge.cli.main import cli
from tests.control.office import ORG, Office
from tests.control.samples import plant
from tests.control.world import RefusedError, World, unsealed, world_at

NEW = "ab" * 8
SECRET = "a key of ours"
TUNNEL = f"{ORG}/edges/T1/ipsecTunnels/hq"
USER = {"username": "eva", "email": "e@example.com", "firstName": "E", "lastName": "V", "role": "ROLE_STAFF"}


def rekey(data: Path, database: str, *arguments: str, code: int = 0) -> Result:
    given = [*(["--database", database] if database else []), *arguments]
    result = CliRunner().invoke(cli, ["control", "rekey", "--data", str(data), *given])
    assert result.exit_code == code, result.output
    return result


def add_key(data: Path, key_id: str = NEW) -> str:
    """On top; the whole of the file before."""
    file = data / "keys"
    before = file.read_text()
    file.write_text(f"{key_id} {base64.b64encode(key_id.encode() * 2).decode()}\n{before}")
    return before


def furnish(world: World) -> tuple[Office, str]:
    """A secret of each kind; a machine's name."""
    office = Office(world)
    endpoint = {"local_address": "203.0.113.10", "local_networks": ["10.20.0.0/24"]}
    remote = {"remote_address": "198.51.100.7", "remote_networks": ["192.168.50.0/24"]}
    plant(
        world, "ipsec_tunnel", f"{ORG}/edges/T1", "hq", display_name="hq", pre_shared_key=SECRET,
        local_endpoint=endpoint, remote_endpoint=remote,
    )  # fmt: skip
    authority_of(world.store, world.vault)
    return office, office.create("web")["machine"]["name"]


def add_eva(office: Office) -> str:
    """The one-time password, the same each time: the request is."""
    request = {"parent": ORG, "user": USER, "requestId": "eva"}
    return str(office.world.call("UserService/CreateUser", request, office.token)["oneTimePassword"])


def stored(world: World) -> bytes:
    """Everything in the database."""
    with world.store.read() as state:
        rows = [list(row) for table in METADATA.sorted_tables for row in state.db.execute(sa.select(table))]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)


def encrypted_with(key_id: str, text: bytes) -> bool:
    """Raw, in hexadecimal or in base64; of the last the end depends on what follows."""
    raw = bytes.fromhex(key_id)
    return any(form in text for form in (raw, key_id.encode(), base64.b64encode(raw)[:10]))


def test_every_secret_opens_with_the_new_key_alone(tmp_path: Path, database: str) -> None:
    data = tmp_path / "data"
    world = World(data, database)
    office, machine = furnish(world)
    eva = add_eva(office)
    with world.store.read() as state:
        tunnel = state.get(TUNNEL)
        maria = state.get(f"{ORG}/users/maria")
    world.close()
    old = (data / "keys").read_text().split()[0]
    add_key(data)

    world.open()
    assert add_eva(office) == eva  # a call that comes again under another first key
    assert encrypted_with(old, stored(world))
    world.close()
    text = rekey(data, database).output
    # Two seeds, the tunnel's key, the machine's password, the edges' authority, and the answer to a call under an id.
    assert text == f"6 secrets encrypted again with the key {NEW}, 0 were already\n"
    (data / "keys").write_text((data / "keys").read_text().splitlines()[0] + "\n")

    world.open()
    assert authority_of(world.store, world.vault).key
    assert encrypted_with(NEW, stored(world))
    assert not encrypted_with(old, stored(world))
    with world.store.read() as state:
        now = state.get(TUNNEL)
        credentials = state.credentials(maria.uid)
    assert unsealed(world.vault, now, "pre_shared_key") == SECRET
    assert (now.version, now.updated_ns) == (tunnel.version, tunnel.updated_ns)
    assert credentials is not None
    assert credentials.totp_sealed is not None
    assert world.vault.open(credentials.totp_sealed, seed_place(maria.uid)) == world.seeds[maria.path]
    world.now_s += 60
    assert world.login(maria.path)["session"]["token"]
    assert len(office.do("TakePassword", machine)["password"]) == 27
    with pytest.raises(RefusedError) as refused:
        add_eva(office)  # what it was like only the old key could tell; it is not done twice
    assert refused.value.reason == "REQUEST_ID_REUSED"
    records = world.call("AuditService/ListAuditRecords", {"parent": "orgs/system"}, office.admin)["records"]
    assert [record["method"] for record in records].count("rekey") == 1
    world.close()
    assert f'"key": "{NEW}"' in rekey(data, database, "--json").output


def test_what_cannot_be_opened_leaves_everything_as_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with world_at(data) as world:
        furnish(world)
    add_key(data)
    with world_at(data) as world:
        with world.store.write(PROVIDER) as unit:
            unit.db.execute(sa.update(MACHINE_STATES).values(password=bytes(40)))  # the last but one that it looks at
        before = stored(world)
    assert "is not in the key file" in rekey(data, "", code=2).output
    with world_at(data) as world:
        assert stored(world) == before


def test_where_nothing_was_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{NEW} {base64.b64encode(bytes(32)).decode()}\n")
    (tmp_path / "keys").chmod(0o600)
    assert "no control plane has been here" in rekey(tmp_path, "", code=3).output
    assert "no control plane has been here" in rekey(tmp_path / "other", "", code=3).output
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_directory_that_is_served_is_left_alone(world: World) -> None:
    assert "another process uses it" in rekey(world.data, "", code=3).output


def test_every_column_of_bytes_is_known_to_it() -> None:
    columns = [column for table in METADATA.tables.values() for column in table.c]
    found = {str(column) for column in columns if isinstance(column.type, sa.LargeBinary)}
    assert found == {"credentials.totp_sealed", "machine_states.password", "requests.answer"}

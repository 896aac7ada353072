"""PostgreSQL over TCP and TLS, with passwords and libpq's options, and where there is none."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
import trio

from nurselog._errors import StoreUnavailable
from nurselog._stores import open_store
from nurselog._stores._postgres.binary import TEXT, int8, number
from nurselog.abc import Append, Lease
from nurselog.testing.stores.records import LONG, StandingClock, append, chatting, create, creation, note, row
from tests.postgres_server import PostgresServer, running_server
from tests.stores.kit import opened
from tests.stores.test_postgres_driver import cancel_in, connected, values

ACCESS = """
local all guarded scram-sha-256
local all all trust
host all all 127.0.0.1/32 trust
"""

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""What a client says that wants TLS, before anything else."""


@dataclass
class Remote:
    """A server that is reached over TLS, where it wants a password from `guarded`, and over TCP."""

    server: PostgresServer
    tcp: int
    certificate: Path
    tls: int = 0

    def url(self, user: str = "postgres", **options: str) -> str:
        known = {"sslmode": "verify-full", "sslrootcert": str(self.certificate)} | options
        return f"postgresql://{user}@127.0.0.1:{self.tls}/postgres?" + "&".join(f"{k}={v}" for k, v in known.items())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that vouches for itself, with its key in one file; skip the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here, which makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=nurselog -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *options.split(), "-keyout", path, "-out", path.with_suffix(".crt")], check=True)
    path.write_text(path.read_text("ascii") + path.with_suffix(".crt").read_text("ascii"), "ascii")
    return path


@pytest.fixture(scope="module")
def far_server(certificate: Path) -> Iterator[Remote]:
    port = free_port()
    with running_server(listen_addresses="127.0.0.1", port=str(port)) as server:
        with psycopg.connect(server.url, autocommit=True) as admin:
            admin.execute("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'open sesame'")
            admin.execute(f"ALTER SYSTEM SET hba_file = '{server.place('access.conf', ACCESS)}'")
        server.restart()
        yield Remote(server, port, certificate)


@pytest.fixture
async def remote(far_server: Remote, nursery: trio.Nursery) -> Remote:
    """The server behind one that speaks TLS: servers that come as wheels are built without it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(far_server.certificate)

    async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, both: trio.CancelScope) -> None:
        async for data in source:
            await sink.send_all(data)
        both.cancel()

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async with stream:
                if await stream.receive_some(len(SSL_REQUEST)) != SSL_REQUEST:
                    return
                await stream.send_all(b"S")
                outside = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
                inside = await trio.open_unix_socket(f"{far_server.server.folder}/.s.PGSQL.{far_server.tcp}")
                async with inside, trio.open_nursery() as both:
                    both.start_soon(pump, inside, outside, both.cancel_scope)
                    both.start_soon(pump, outside, inside, both.cancel_scope)

    [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    return replace(far_server, tls=listener.socket.getsockname()[1])


async def test_statements_over_tcp(far_server: Remote) -> None:
    url = f"postgresql://postgres@127.0.0.1:{far_server.tcp}/postgres"
    async with connected(url) as connection:
        await cancel_in(url, connection)
        assert await values(
            connection, "SELECT client_port > 0 FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ) == [True]


async def test_statements_of_all_sizes_over_tls(remote: Remote) -> None:
    async with connected(remote.url()) as connection:
        assert connection.pgconn.ssl_in_use
        for size in (1, 16_384, 5_000_000):  # less than, as much as, and many times what TLS puts into one record
            result = await connection.call(b"SELECT length($1 || repeat('x', 0))::bigint, $1", [(TEXT, b"x" * size)])
            assert number(result.get_value(0, 0)) == len(result.get_value(0, 1) or b"") == size


async def test_cancelling_over_tls(remote: Remote) -> None:
    async with connected(remote.url()) as connection:
        await cancel_in(remote.server.url, connection)
        assert connection.is_at_rest
        assert number((await connection.call(b"SELECT $1 + 0", [int8(1)])).get_value(0, 0)) == 1


async def test_stores_over_tls(remote: Remote) -> None:
    large = bytes(1_000_000)
    async with opened(remote.url()) as a, opened(remote.url(), worker="b") as b:
        [key] = await create(a, creation("one", 7, owner="a"))
        assert not await append(a, Append(key=key, rows=[row(2, 7, value=large)]))
        assert (await b.read(key))[-1].value == large
        async with chatting(b), trio.open_nursery() as nursery:
            nursery.start_soon(a.wait_changed)
            await b.post([note(key, b"")])
        [message] = await a.messages()
        assert message.kind == "note"


@pytest.mark.parametrize(
    ("user", "options", "said"),
    [
        ("postgres", {"sslmode": "disable"}, "cannot be reached"),
        ("postgres", {"sslrootcert": "/dev/null"}, "cannot be reached"),
        ("guarded", {}, "password"),
        ("guarded", {"password": "close%20sesame"}, "password"),
    ],
)
async def test_who_is_not_let_in(remote: Remote, user: str, options: dict[str, str], said: str) -> None:
    store = open_store(remote.url(user, **options), clock=StandingClock())
    with pytest.raises(StoreUnavailable, match=said) as caught:
        await store.open(Lease(worker="a", duration=LONG))
    assert "sesame" not in str(caught.value)


async def test_who_is_let_in_by_a_password(remote: Remote) -> None:
    async with opened(remote.url("guarded", password="open%20sesame")) as store:
        assert await store.find(["nobody"]) == []


async def test_where_there_is_no_server(tmp_path: Path) -> None:
    for url in (f"postgresql://me@/db?host={tmp_path}", f"postgresql://me@127.0.0.1:{free_port()}/db"):
        store = open_store(url, clock=StandingClock())
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.open(Lease(worker="a", duration=LONG))
        await store.close()


async def test_options_of_libpq(postgres_url: str) -> None:
    """What the address says is not lost beside what a store wants, and comes before it."""
    url = f"{postgres_url}&options=-c%20work_mem%3D5MB&application_name=me&connect_timeout=3"
    store = open_store(url, clock=StandingClock())
    await store.open(Lease(worker="a", duration=LONG))
    readers = store._session.readers  # type: ignore[attr-defined]  # it is PostgreSQL's
    connection = await readers.take()
    settings = [(await values(connection, f"SHOW {name}"))[0] for name in ("work_mem", "application_name")]
    readers.give_back(connection)
    await store.close()
    assert settings == ["5MB", "me"]

"""Sessions end: after a time without any request, after a shift whatever happens, and when their owner leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from fixtures.hospital_network import Host
from fixtures.provisioned_server import PreparedServer
from fixtures.sessions import PAGE, Account, account, ask_database, sign_in
from fixtures.strangers_requests import answer

IDLE_SECONDS, LONGEST_SECONDS = 3600, 28800
# What NGINX and the sign-in's processes remember (sign_in_memory_seconds and one more), and room for a busy machine.
END_SECONDS = 20


@pytest.fixture
def radiologist(server: PreparedServer) -> Iterator[Account]:
    """Make an account for one test."""
    with account(server, "radiologist") as made:
        yield made


def status(host: Host, server: PreparedServer, session: dict[str, str], path: str = "/pacs/studies") -> int:
    """Return what somebody with a session gets."""
    told: int = answer(host, server.lan_address, server.domain, path, headers=PAGE | session)["status"]
    return told


def let_time_pass(server: PreparedServer, who: Account, field: str, seconds: int) -> None:
    """Make a moment that is kept of somebody's session lie further back."""
    moved = ask_database(
        server,
        "UPDATE sessions SET a_session = a_session ||"
        " jsonb_build_object(:'field'::text, (a_session ->> :'field')::bigint - :'seconds'::bigint)"
        " WHERE a_session ->> '_whatToTrace' = :'login' AND a_session ->> :'field' IS NOT NULL RETURNING 'moved'",
        login=who.login,
        field=field,
        seconds=seconds,
    )
    assert moved == "moved"


def last_seen(server: PreparedServer, who: Account) -> int:
    """Return when a session was last used, in seconds of Unix time."""
    seen = "SELECT a_session ->> '_lastSeen' FROM sessions WHERE a_session ->> '_whatToTrace' = :'login'"
    return int(ask_database(server, seen, login=who.login))


def ends(host: Host, server: PreparedServer, session: dict[str, str]) -> bool:
    """Return whether a session is led to the sign-in again within the time of memories."""
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        if status(host, server, session) == 302:
            return True
        time.sleep(1)
    return False


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        pytest.param("_lastSeen", IDLE_SECONDS + 60, id="idle for an hour"),
        pytest.param("_utime", LONGEST_SECONDS + 60, id="open for a shift, in use or not"),
    ],
)
def test_session_ends(
    server: PreparedServer, people: dict[str, Host], radiologist: Account, field: str, seconds: int
) -> None:
    """Too long ago is too long ago: the person signs in again."""
    host = people["stranger"]
    session = sign_in(host, server, radiologist)
    assert status(host, server, session) == 200
    let_time_pass(server, radiologist, field, seconds)
    assert ends(host, server, session)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        pytest.param("_lastSeen", IDLE_SECONDS - 300, id="a long look at one study"),
        pytest.param("_utime", LONGEST_SECONDS - 300, id="late in the shift"),
    ],
)
def test_session_goes_on_until_then(
    server: PreparedServer, people: dict[str, Host], radiologist: Account, field: str, seconds: int
) -> None:
    """Nobody is thrown out early, and who does something is not idle any more."""
    host = people["stranger"]
    session = sign_in(host, server, radiologist)
    let_time_pass(server, radiologist, field, seconds)
    time.sleep(12)  # the memories of before
    assert status(host, server, session) == 200
    if field == "_lastSeen":
        assert time.time() - last_seen(server, radiologist) < 120


def test_leaving_ends_the_session_on_the_server(
    server: PreparedServer, people: dict[str, Host], radiologist: Account
) -> None:
    """The cookie of who has left opens nothing, whoever kept a copy of it; the browser forgets what it stored."""
    host = people["stranger"]
    session = sign_in(host, server, radiologist)
    leaving = answer(host, server.lan_address, server.domain, "/logout", headers=PAGE | session)
    assert leaving["headers"]["clear-site-data"] == '"cache", "storage"'
    assert leaving["headers"]["location"] == f"https://{server.signin_domain}/?logout=1"
    answer(host, server.lan_address, server.signin_domain, "/?logout=1", headers=PAGE | session)
    assert ends(host, server, session)


def test_pages_show_who_is_signed_in(server: PreparedServer, people: dict[str, Host], radiologist: Account) -> None:
    """The shell of every page has the person's name and the way out; what her role may not do is refused in words."""
    host = people["stranger"]
    session = sign_in(host, server, radiologist)
    page = answer(host, server.lan_address, server.domain, "/pacs/studies", headers=PAGE | session)["body"]
    assert radiologist.login in page
    assert 'href="/logout"' in page
    refused = answer(host, server.lan_address, server.domain, "/statistics", headers=PAGE | session)
    assert refused["status"] == 403
    expected = ["not open to your account", "no tiene acceso", "não tem acesso"]
    assert [words for words in expected if words in refused["body"]] == expected

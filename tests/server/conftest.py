"""The whole: a machine provisioned by ansible/site.yml, and the people around it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fixtures.hospital_network import Host, hospital_network
from fixtures.provisioned_server import PreparedServer, prepared, provision
from fixtures.server_machine import ServerMachine, server_machine


@pytest.fixture(scope="session")
def machines() -> None:
    """Skip where no machine can be booted."""
    if refusal := os.environ.get("PACS_NO_MACHINES"):
        pytest.skip(refusal)
    if not os.path.isdir("/machines"):  # noqa: PTH112
        pytest.skip("started without orthanc/root/server.sh")


@pytest.fixture(scope="session")
def people(machines: None) -> Iterator[dict[str, Host]]:  # noqa: ARG001
    """Everybody around the server, by name."""
    with hospital_network() as hosts:
        yield hosts


@pytest.fixture(scope="session")
def bare_machine(people: dict[str, Host]) -> Iterator[ServerMachine]:
    """Boot a Debian 13 as its installer leaves it."""
    with server_machine(people["admin"]) as machine:
        yield machine


@pytest.fixture(scope="session")
def prepared_server(bare_machine: ServerMachine) -> PreparedServer:
    """Write down for the bare machine what it is to be."""
    return prepared(bare_machine)


@pytest.fixture(scope="session")
def server(prepared_server: PreparedServer) -> PreparedServer:
    """Run ansible/site.yml."""
    provision(prepared_server)
    return prepared_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look at the bare machine before it is provisioned, whatever the files are called."""
    items.sort(key=lambda item: "server" in getattr(item, "fixturenames", ()))

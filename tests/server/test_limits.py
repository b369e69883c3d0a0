"""Limits hold for one address and nobody else, and the largest study passes through without a copy on the way."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fixtures.floods import flood
from fixtures.hospital_network import Host
from fixtures.provisioned_server import PreparedServer
from fixtures.storing_much import IMAGE_BYTES, store

PUBLIC = "/.well-known/security.txt"
# roles/nginx/defaults/main.yml
STRANGERS_BURST, STRANGERS_PER_SECOND = 100, 20
LARGEST_CT = 4000
IMAGES = 122
LARGEST_MEMORY_GROWTH_BYTES = 400 * 1024**2
STUDY = "1.2.826.0.1.3680043.8.498.7700"


@pytest.fixture
def attacker(server: PreparedServer, people: dict[str, Host]) -> Iterator[Host]:
    """Somebody outside, with a clean record before and after."""
    server.ask("fail2ban-client unban --all")
    yield people["attacker"]
    server.ask("fail2ban-client unban --all")


@pytest.fixture
def program(server: PreparedServer) -> Iterator[dict[str, str]]:
    """Make a program's account, and return the header by which it signs in."""
    name = f"machine-{secrets.token_hex(4)}"
    password = server.ask(f"pacs-account make {name} Test '' machine").rpartition(" ")[2].strip()
    yield {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
    server.ask(f"pacs-account remove {name}")


def test_flood_of_a_stranger_is_refused_while_others_are_served(
    server: PreparedServer, people: dict[str, Host], attacker: Host
) -> None:
    """Beyond his share one address is told "too many" and when to come back; another one notices nothing."""
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(flood, people["radiologist"], server.address, server.domain, PUBLIC, requests=40)
        seen = flood(attacker, server.address, server.domain, PUBLIC, requests=600)
        seconds = time.monotonic() - started

    assert seen[429] > 0
    assert seen[200] <= STRANGERS_BURST + STRANGERS_PER_SECOND * (seconds + 1)
    assert others.result() == {200: 40}


def test_large_study_is_never_too_many(server: PreparedServer, people: dict[str, Host]) -> None:
    """A CT of 4,000 images at once is served to somebody on the internet who has a session to show."""
    claims = {"Cookie": "pacs_session=0"}
    seen = flood(people["doctor"], server.address, server.domain, PUBLIC, requests=LARGEST_CT, headers=claims)

    assert seen == {200: LARGEST_CT}


def test_hospital_has_no_limit(server: PreparedServer, people: dict[str, Host]) -> None:
    """Behind one address of the LAN may stand all radiologists: nobody there is ever told "too many"."""
    assert flood(people["stranger"], server.lan_address, server.domain, PUBLIC, requests=2000) == {200: 2000}


def processes(server: PreparedServer) -> dict[str, dict[str, int]]:
    """Return what NGINX's workers and Orthanc have written to disks, and the most memory they had since asked last."""
    script = (
        "for name in nginx Orthanc; do for pid in $(pgrep -x $name); do "
        "set -- $(awk '/^write_bytes/{print $2}' /proc/$pid/io) $(awk '/^VmHWM/{print $2*1024}' /proc/$pid/status); "
        "echo $name $1 $2; echo 5 > /proc/$pid/clear_refs; done; done"
    )
    found: dict[str, dict[str, int]] = {}
    for line in server.ask(script).splitlines():
        name, written, memory = line.split()
        totals = found.setdefault(name, {"written": 0, "memory": 0})
        totals["written"] += int(written)
        totals["memory"] += int(memory)
    return found


def test_two_gigabytes_are_stored_without_a_copy_on_the_way(
    server: PreparedServer, people: dict[str, Host], program: dict[str, str]
) -> None:
    """Of 2 GB that a program stores in one request NGINX writes nothing, Orthanc each image once; no memory grows."""
    processes(server)
    before = processes(server)
    told = store(
        people["modality"],
        address=server.lan_address,
        name=server.domain,
        headers=program,
        study=STUDY,
        images=IMAGES,
    )
    after = processes(server)
    try:
        assert told["status"] == 200, told["body"][:500]
        assert len(json.loads(told["body"])["00081199"]["Value"]) == IMAGES
        grown = {name: after[name]["memory"] - before[name]["memory"] for name in after}
        written = {name: after[name]["written"] - before[name]["written"] for name in after}
        assert written["nginx"] < IMAGE_BYTES
        assert IMAGES * IMAGE_BYTES <= written["Orthanc"] < 1.2 * IMAGES * IMAGE_BYTES
        assert max(grown.values()) < LARGEST_MEMORY_GROWTH_BYTES, grown
    finally:
        found = server.ask(
            f'curl -sS http://127.0.0.1:8042/tools/lookup -d {STUDY} | grep -o \'"ID" : "[^"]*\' | cut -c9- | head -1'
        )
        server.ask(f"curl -sS -X DELETE http://127.0.0.1:8042/studies/{found.strip(' :"')}", 120)


def test_figures_are_for_prometheus_alone(server: PreparedServer) -> None:
    """Orthanc's, the plugins' and NGINX's figures are read on loopback by Prometheus, who reaches nothing else."""
    ask = "setpriv --reuid={} --clear-groups --regid=nogroup curl -sS --max-time 10 -o - -w '%{{http_code}}' {}"
    places = {"pacs": "^pacs_", "orthanc": "^orthanc_", "nginx": "Active connections"}
    for place, words in places.items():
        assert server.ask(f"{ask.format('prometheus', f'http://127.0.0.1:9180/{place}')} | grep -c '{words}'") != "0"
        assert server.run(ask.format("nobody", f"http://127.0.0.1:9180/{place}")).returncode == 7
    assert server.ask(ask.format("prometheus", "http://127.0.0.1:9180/studies")).endswith("404")
    assert server.ask(ask.format("prometheus", "-X POST http://127.0.0.1:9180/pacs")).endswith("405")
    assert server.run(ask.format("prometheus", "http://127.0.0.1:8042/system")).returncode == 7

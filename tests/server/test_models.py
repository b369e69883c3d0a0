"""3D models on the provisioned server: who is signed in orders one over HTTPS and gets it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trimesh

from fixtures.fictitious_studies import as_file
from fixtures.hospital_network import Host
from fixtures.mesh_archives import BONE
from fixtures.model_sources import patient
from fixtures.provisioned_server import PreparedServer
from fixtures.sessions import account, sign_in
from fixtures.strangers_requests import answer

JSON = {"Accept": "application/json", "Content-Type": "application/json"}
PATIENCE_SECONDS = 120.0
# The sandbox of the archive bounds what a model may take; a small one needs the libraries and little else.
FEW_TRIANGLES = 1000


@pytest.fixture(scope="module")
def series(server: PreparedServer, people: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Send a small CT of spheres from the modality and return its Series Instance UID."""
    folder = tmp_path_factory.mktemp("spheres")
    images = patient(PatientName="MODELO^Ana", PatientID="3D-9", StudyDate="20260301", StudyTime="101500")
    for number, image in enumerate(images):
        (folder / f"{number}.dcm").write_bytes(as_file(image))
    program = ("/usr/bin/dcmsend", "--no-uid-checks", "-aet", "CT1", "-aec", "PACS", server.lan_address, "4242")
    sent = people["modality"].run(*program, *sorted(folder.iterdir()), timeout_seconds=120)
    assert sent.returncode == 0, sent.stderr[-2000:]
    return str(images[0].SeriesInstanceUID)


@pytest.fixture
def session(server: PreparedServer, people: dict[str, Host]) -> Iterator[dict[str, str]]:
    """Sign a radiologist in on a PC of the hospital; return the headers that show it."""
    with account(server, "radiologist") as who:
        yield sign_in(people["stranger"], server, who)


def fetched(host: Host, server: PreparedServer, path: str, session: dict[str, str], to: Path) -> Path:
    """Download with curl, as scripts do, following where the server leads; return the file."""
    found = ("--resolve", f"{server.domain}:443:{server.lan_address}", "--insecure")  # another test checks certificates
    done = host.run(
        *("curl", "-sSfL", *found, "-H", f"Cookie: {session['Cookie']}", "-o", to, f"https://{server.domain}{path}"),
        timeout_seconds=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return to


def test_radiologist_orders_a_model_and_gets_the_stl(
    server: PreparedServer, people: dict[str, Host], series: str, session: dict[str, str], tmp_path: Path
) -> None:
    """An order over HTTPS becomes a closed STL as large as its report says."""
    host = people["stranger"]

    def ask(path: str, method: str = "GET", **more: object) -> dict[str, Any]:
        return answer(host, server.lan_address, server.domain, path, method, headers=session | JSON, **more)

    ordered = ask(f"/pacs/mesh/{series}", "POST", body=json.dumps(BONE))
    assert ordered["status"] == 202, ordered["body"]
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while (job := json.loads(ask(ordered["headers"]["location"])["body"]))["state"] != "done":
        assert job["state"] in {"waiting", "working"}, job
        assert time.monotonic() < give_up_at, job
        time.sleep(0.5)
    report = json.loads(ask(job["report"])["body"])
    stl = fetched(host, server, job["files"][0]["href"], session, tmp_path / "model.stl")
    model = trimesh.load_mesh(stl)
    assert model.is_watertight
    assert len(model.faces) == report["triangles"] > FEW_TRIANGLES
    assert float(model.volume) == pytest.approx(report["volume_mm3"], rel=1e-3)


def test_script_gets_the_stl_at_the_simple_address(
    server: PreparedServer, people: dict[str, Host], series: str, session: dict[str, str], tmp_path: Path
) -> None:
    """One address below the series is enough for curl."""
    address = f"/series/{series}/mesh.stl?preset=bone&share=0.5"
    assert trimesh.load_mesh(
        fetched(people["stranger"], server, address, session, tmp_path / "model.stl")
    ).is_watertight


def test_who_may_only_look_orders_no_model(server: PreparedServer, people: dict[str, Host], series: str) -> None:
    """A referring doctor is refused, and so is who is not signed in."""
    host, path = people["stranger"], f"/pacs/mesh/{series}"
    with account(server, "referring") as who:
        session = sign_in(host, server, who)
        told = answer(
            host, server.lan_address, server.domain, path, "POST", headers=session | JSON, body=json.dumps(BONE)
        )
    assert told["status"] == 403
    told = answer(host, server.lan_address, server.domain, path, "POST", headers=JSON, body=json.dumps(BONE))
    assert told["status"] == 401

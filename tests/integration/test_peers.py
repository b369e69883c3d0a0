"""Peers as the role enters them in the running archive: who comes by TLS, through NGINX, and who comes by himself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import build_context
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from fixtures.fictitious_studies import dicom_image
from fixtures.running_pacs import RunningPacs, running
from fixtures.stations import associated, find, listening, storage_context, store, study_keys

CHECKOUT = Path(__file__).parents[2]
# Where NGINX's connections come from, where the peer's machine is, and where somebody else is.
NGINX, PEER, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
SUCCESS = 0x0000
FIND, MOVE = StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPacs]:
    """Run an archive as on a server with peers: nobody else stores or searches, and addresses count."""
    strict = {"PACS_DICOM_ALWAYS_ALLOW_STORE": "false", "PACS_DICOM_CHECK_MODALITY_HOST": "true"}
    with running(tmp_path_factory.mktemp("site"), environment=strict) as pacs:
        yield pacs


def enter(pacs: RunningPacs, folder: Path, *peers: dict[str, Any]) -> int:
    """Have the role enter peers; return how many entries it changed."""
    role = {"name": "Peers", "include_role": {"name": "orthanc", "tasks_from": "peers"}}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [role]}
    (folder / "peers.yml").write_text(yaml.safe_dump([play]))
    variables = json.dumps({"pacs_dicom_peers": peers, "_orthanc_url": pacs.url})
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", folder / "peers.yml", "-e", variables],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_ROLES_PATH": str(CHECKOUT / "roles")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.rpartition("changed=")[2].split()[0])


def may(pacs: RunningPacs, title: str, address: str) -> tuple[bool, bool]:
    """Try to store an image and to find it, as a station of this title at this address; return what was done."""
    image = dicom_image(SOPClassUID=CTImageStorage)
    contexts = [storage_context(image), build_context(FIND)]
    with associated(pacs, contexts, calling=title, address=address) as association:
        stored = store(association, image) == SUCCESS
    keys = study_keys(image)
    with associated(pacs, contexts, calling=title, address=address) as association:
        answers, status = find(association, keys, FIND)
    return stored, status == SUCCESS and len(answers) == stored


def moved_to(pacs: RunningPacs, title: str, image: Dataset) -> int | None:
    """Have a study sent to the station of this title, as it asks for it by TLS; return how that ended."""
    with associated(pacs, [build_context(MOVE)], calling=title) as association:
        statuses = [status.get("Status") for status, _ in association.send_c_move(study_keys(image), title, MOVE)]
    return statuses[-1]


def test_peer_comes_by_the_way_that_is_told_alone(site: RunningPacs, tmp_path: Path) -> None:
    """By TLS or from its address it stores and finds; the other way, or from elsewhere, it does not."""
    assert enter(site, tmp_path, {"aet": "CT1", "address": PEER}, {"aet": "CLINIC", "address": PEER, "tls": True})

    everything, nothing = (True, True), (False, False)
    assert may(site, "CLINIC", NGINX) == everything
    assert may(site, "CT1", PEER) == everything
    for title, address in (
        ("CLINIC", PEER),
        ("CLINIC", STRANGER),
        ("CT1", NGINX),
        ("CT1", STRANGER),
        ("NOBODY", NGINX),
    ):
        assert may(site, title, address) == nothing, (title, address)


def test_peer_by_tls_is_sent_to_where_it_is(site: RunningPacs, tmp_path: Path) -> None:
    """What it asks for by TLS goes to its own address and port."""
    image = dicom_image(SOPClassUID=CTImageStorage)
    with listening("READER", [storage_context(image)], address=PEER) as reader:
        enter(site, tmp_path, {"aet": "READER", "address": PEER, "port": reader.port, "tls": True})
        with associated(site, [storage_context(image)], calling="READER") as association:
            assert store(association, image) == SUCCESS
        assert moved_to(site, "READER", image) == SUCCESS
        assert list(reader.received) == [image.SOPInstanceUID]


def test_second_run_changes_nothing_and_the_way_can_be_changed(site: RunningPacs, tmp_path: Path) -> None:
    """A peer that comes by TLS from now on, and then no more, has the rights of its new way and none of the old."""
    plain, by_tls = {"aet": "US1", "address": PEER}, {"aet": "US1", "address": PEER, "tls": True}
    for peer, others in ((plain, (NGINX, STRANGER)), (by_tls, (PEER, STRANGER)), (plain, (NGINX, STRANGER))):
        assert enter(site, tmp_path, peer) >= 1
        assert enter(site, tmp_path, peer) == 0
        assert may(site, "US1", NGINX if peer is by_tls else PEER) == (True, True)
        assert [may(site, "US1", other) for other in others] == [(False, False)] * 2

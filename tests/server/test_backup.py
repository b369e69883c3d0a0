"""Backups on the provisioned server: what runs by itself, what gets where, and what an intruder can't do about it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from fixtures import backup_keeper
from fixtures.backup_sites import images
from fixtures.hospital_network import HOSTS, SERVER_IN_THE_LAN, Host
from fixtures.provisioned_server import PreparedServer

UNITS = [
    "files",
    "ship",
    "nightly",
    "database@full",
    "database-send",
    "check",
    "prune",
    "fixity",
    "consistency",
    "drill",
]
TIMERS = [*UNITS[:5], "database@incr", *UNITS[5:]]
UNIT_SECONDS = 240
PLACE = f"https://{backup_keeper.LOGIN}@{HOSTS['keeper']}:{backup_keeper.PORT}/pacs"
REST = f"rest:{PLACE}"
# What the keeper sees on his disk.
KEPT = backup_keeper.FOLDER / "data/pacs"
TRUST = "--cacert /etc/pacs/backup/authorities/clinic.pem"


@dataclass
class Backups:
    """A server whose backups have run.

    Attributes
    ----------
    study : StudyInstanceUID of a study that they have.
    """

    server: PreparedServer
    study: str

    def start(self, unit: str) -> None:
        """Run a unit to its end; fail with what it said when it does not end well."""
        run_unit(self.server, unit)

    def curl(self, address: str, *words: str) -> str:
        """Ask the keeper as an intruder would, with the login that is on the server; return the HTTP status."""
        options = f"--path-as-is {TRUST} -o /dev/null -w '%{{http_code}}' {' '.join(words)}"
        return self.server.ask(f"curl -sS {options} '{PLACE}/{address}'")

    def status(self, name: str) -> dict[str, object]:
        """Return what a task tells of its last run."""
        told: dict[str, object] = json.loads(self.server.ask(f"cat /var/lib/pacs-backup/status/{name}.json"))
        return told

    def restic(self, words: str) -> subprocess.CompletedProcess[str]:
        """Run restic on the server as an intruder would: as root, with all that is there."""
        month = time.strftime("%Y-%m", time.gmtime())
        return self.server.run(
            f"RESTIC_PASSWORD_FILE=/etc/pacs/credentials/BACKUP_CLINIC_PASSWORD timeout 60 restic {TRUST} --no-cache"
            f" -r {REST}/{words.format(month=month)}",
            90,
        )


def run_unit(server: PreparedServer, unit: str) -> None:
    """Run a unit of the backups to its end."""
    done = server.run(f"systemctl start pacs-backup-{unit}.service", UNIT_SECONDS)
    assert done.returncode == 0, server.ask(f"journalctl -u pacs-backup-{unit}.service --output=cat --lines=30")


@pytest.fixture(scope="module")
def backups(server: PreparedServer, people: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Backups:
    """Store a study over the network and let every task run once, by its own unit."""
    folder = tmp_path_factory.mktemp("images")
    paths = images(folder, study="server", slices=12, size=256)
    study = stored(people["modality"], folder)
    assert len(paths) == 12
    for unit in ("files", "nightly", "database@full"):
        run_unit(server, unit)
    backups = Backups(server, study)
    wait_for_log(backups)
    return backups


def stored(modality: Host, folder: Path) -> str:
    """Send a folder's images to the server and return their StudyInstanceUID."""
    sent = modality.run(
        "/usr/bin/storescu",
        "-aet",
        "CT1",
        "-aec",
        "PACS",
        "+sd",
        SERVER_IN_THE_LAN,
        "4242",
        folder,
        timeout_seconds=120,
    )
    assert sent.returncode == 0, sent.stderr
    said = subprocess.run(
        ["/usr/bin/dcmdump", "+P", "StudyInstanceUID", next(folder.glob("*.dcm"))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return re.search(r"\[(.+)\]", said)[1]  # type: ignore[index]


def wait_for_log(backups: Backups) -> None:
    """Wait until the base backup and the log after it are at every place."""
    wait_until(backups.server, "systemctl is-active pacs-backup-database-send.service | grep -q inactive")
    backups.start("files")
    began = time.time()
    while any(_age(backups, f"log.{place}") > time.time() - began for place in ("disk", "clinic")):
        assert time.time() < began + 120, backups.status("log.clinic")
        time.sleep(1)


def wait_until(server: PreparedServer, condition: str, timeout_seconds: float = 120) -> None:
    """Wait for a condition, a line of shell."""
    give_up_at = time.monotonic() + timeout_seconds
    while server.run(condition).returncode:
        assert time.monotonic() < give_up_at, condition
        time.sleep(1)


def _age(backups: Backups, name: str) -> float:
    """Return the seconds since a task's last success."""
    last = str(backups.status(name).get("last_success", "2000-01-01T00:00:00+00:00"))
    return time.time() - datetime.fromisoformat(last).timestamp()


@pytest.mark.parametrize("name", [*TIMERS, "ship"])
def test_task_runs_by_itself(server: PreparedServer, name: str) -> None:
    """Each task has a timer that is on, now and after a start of the machine."""
    assert server.ask(
        f"systemctl is-active pacs-backup-{name}.timer; systemctl is-enabled pacs-backup-{name}.timer"
    ) == ("active\nenabled")


@pytest.mark.parametrize("name", UNITS)
def test_unit_is_walled_in(server: PreparedServer, name: str) -> None:
    """Systemd finds none of them exposed above 3.0."""
    said = server.ask(f"systemd-analyze security --no-pager pacs-backup-{name}.service | tail -n 1")
    assert float(re.search(r"(\d+\.\d)", said)[1]) <= 3.0, said  # type: ignore[index]


@pytest.mark.parametrize("name", ["files", "log", "database", "system"])
@pytest.mark.parametrize("place", ["disk", "clinic"])
def test_every_place_has_everything(backups: Backups, name: str, place: str) -> None:
    """Images, log, base backup and what is needed to begin anew are at both places."""
    told = backups.status(f"{name}.{place}")
    # Of the run before, where another one is at work just now.
    assert told["ended_as"] == "done", told


def test_weekly_and_hourly_tasks_find_nothing_wrong(backups: Backups) -> None:
    """Check, prune, fixity and consistency end well within their walls."""
    for unit in ("check", "prune", "fixity", "consistency"):
        backups.start(unit)
        assert backups.status(unit)["outcome"] == "done"


def test_intruder_with_root_removes_nothing(backups: Backups) -> None:
    """With every secret of the server, the append-only place loses not one byte."""
    before = _files_of_keeper()
    forgotten = backups.restic("files-{month} forget latest --keep-last 1 --prune --unsafe-allow-remove-all")
    some = [str(path.relative_to(KEPT)) for path in list(before)[:8]]
    wiped = [backups.curl(path, "-X", method) for path in some for method in ("DELETE", "PUT")]

    assert forgotten.returncode != 0
    assert not [code for code in wiped if code.startswith("2")], wiped
    assert {path: before[path] for path in before} == {path: _files_of_keeper().get(path) for path in before}


def test_intruder_with_root_reads_nothing_back(backups: Backups) -> None:
    """Images, database and escrow at the write-only place can't be fetched from the server."""
    for repository in ("files-{month}", "database-{month}", "system", "escrow"):
        done = backups.restic(f"{repository} restore latest --no-lock --target /tmp/stolen")
        assert done.returncode != 0, repository
    path = next(name for name in (str(path.relative_to(KEPT)) for path in _files_of_keeper()) if "/data/" in name)
    tricks = (f"{path}?x=1", path.replace("/data/", "//data/"), path.replace("/data/", "/%64ata/"), f"./{path}")
    for trick in (path, *tricks):
        assert backups.curl(trick)[0] == "4", trick
    assert backups.server.run("find /tmp/stolen -type f -size +0 | grep .").returncode != 0


def _files_of_keeper() -> dict[Path, int]:
    """Return what the keeper has, but for locks, which whoever writes makes and removes."""
    return {
        path: path.stat().st_size for path in sorted(KEPT.rglob("*")) if path.is_file() and path.parent.name != "locks"
    }


def test_offline_key_alone_opens_what_is_needed_to_begin_anew(backups: Backups, tmp_path: Path) -> None:
    """At the keeper's, the escrow opens with it: secrets, authority, and the control machine's variables."""
    key = backups.server.machine.folder / "offline.key"
    escrow = KEPT / "escrow"
    _run(
        "restic",
        "-r",
        escrow,
        "--no-lock",
        "--no-cache",
        "restore",
        "latest",
        "--target",
        tmp_path,
        RESTIC_PASSWORD="escrow",  # noqa: S106 - what is in it is encrypted to the key
    )
    _run(
        "openssl",
        "cms",
        "-decrypt",
        "-inform",
        "DER",
        "-in",
        tmp_path / "escrow.cms",
        "-inkey",
        key,
        "-out",
        tmp_path / "tar",
    )
    _run("tar", "-xf", tmp_path / "tar", "-C", tmp_path)
    site = tmp_path / "etc/pacs/backup/site.cms"
    _run("openssl", "cms", "-decrypt", "-inform", "PEM", "-in", site, "-inkey", key, "-out", tmp_path / "site.json")

    assert (tmp_path / "etc/pacs/credentials/BACKUP_DISK_PASSWORD").stat().st_size
    assert (tmp_path / "etc/pacs/ca/server/ca.key").stat().st_size
    told = json.loads((tmp_path / "site.json").read_text())
    assert told["vault.yml"] == (backups.server.project / "ansible/group_vars/pacs/vault.yml").read_text()
    assert {"inventory.ini", "site.yml"} <= set(told)


def _run(*words: str | Path, **environment: str) -> None:
    done = subprocess.run(
        ["env", *(f"{name}={value}" for name, value in environment.items()), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_secrets_of_the_site_lie_on_the_server_encrypted_alone(backups: Backups) -> None:
    """The passphrases that only the control machine has are in no file of the server."""
    vault = (backups.server.project / "ansible/group_vars/pacs/vault.yml").read_text()
    secret = re.search(r"vault_luks_passphrase: (\S+)", vault)[1]  # type: ignore[index]
    found = backups.server.run(f"grep -rlsF {secret} /etc /var/lib /srv /run /root /home /tmp", 120)
    assert found.stdout == ""


def test_drill_proves_the_backup(backups: Backups) -> None:
    """By its own unit, within its walls: database, every file, studies by DICOMweb; the report is on the page."""
    backups.start("drill")
    told = backups.status("drill")
    assert told["good"] is True, told
    assert int(str(told["files"])) >= 12
    page = _page(backups.server, "/pacs/backups")
    assert str(told["report"]).partition(".")[0].removesuffix(".es") in page
    assert backups.server.ask("find /srv/pacs/backup/scratch -mindepth 1 | wc -l") == "0"


def test_page_tells_how_backups_are(backups: Backups) -> None:
    """The page *Backups* names both places; Prometheus finds their last success."""
    page = _page(backups.server, "/pacs/backups")
    assert "disk" in page
    assert "clinic" in page
    metrics = backups.server.ask("curl -sS http://127.0.0.1:9180/pacs")
    assert re.search(r'pacs_backup_last_success_timestamp_seconds\{[^}]*place="clinic"', metrics)


def _page(server: PreparedServer, path: str) -> str:
    headers = "-H 'Remote-User: root' -H 'Pacs-Roles: admin' -H 'Host: pacs.chilecito.test'"
    return server.ask(f"curl -sS --unix-socket /run/pacs/pages.sock {headers} http://localhost{path}")


def test_deleted_study_comes_back(backups: Backups) -> None:
    """`pacs-backup restore study` stores it again as it was, after it has told what it will do."""
    found = f"curl -sS http://127.0.0.1:8042/tools/lookup -d {backups.study}"
    name = json.loads(backups.server.ask(found))[0]["ID"]
    # Of the images alone: what Orthanc notes beside them is made anew.
    sizes = f"curl -sS http://127.0.0.1:8042/studies/{name}/statistics | grep -E 'Count|DicomUncompressedSize'"
    before = backups.server.ask(sizes)
    backups.server.ask(f"curl -sS -X DELETE http://127.0.0.1:8042/studies/{name}")
    command = f"pacs-backup restore study {backups.study} --place disk"

    plan = backups.server.ask(f"{command} --plan", 120)
    assert "12 images" in plan
    assert json.loads(backups.server.ask(found)) == []
    backups.server.ask(f"{command} --do", 120)
    assert backups.server.ask(sizes) == before


def test_places_of_another_archive_are_refused(backups: Backups) -> None:
    """A server that made none of them sends nothing to a place that has backups, and says what to do."""
    backups.server.ask("mv /var/lib/pacs-backup/begun /root/begun")
    try:
        assert backups.server.run("systemctl start pacs-backup-begin.service", 120).returncode != 0
        said = backups.server.ask("journalctl --sync; journalctl -u pacs-backup-begin.service --output=cat --lines=30")
        assert "ansible/restore.yml" in said
    finally:
        backups.server.ask("mv /root/begun /var/lib/pacs-backup/begun; systemctl start pacs-backup-begin.service", 120)


def test_without_an_offline_key_nothing_begins(server: PreparedServer) -> None:
    """The preflight refuses, and says how to make one."""
    done = server.playbook("preflight.yml", "-e", "backup_offline_certificate=")
    assert done.returncode != 0
    assert "openssl req -x509" in done.stdout

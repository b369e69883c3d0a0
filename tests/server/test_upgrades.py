"""A new release comes, goes, and comes without internet; what was acknowledged is there through all of it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.fictitious_studies import as_file
from fixtures.hospital_network import Host
from fixtures.provisioned_server import PreparedServer
from pacs.demo.studies import ct_series

pytestmark = pytest.mark.soak

CHANGED = ("plugins", "requirements.lock")
NEWEST = "9999_later"
LISTED_WITHIN_SECONDS = 60
MIGRATION = '''"""A table that only this release knows."""

import sqlalchemy as sa
from alembic import op

revision = "9999_later"
down_revision = "{newest}"


def upgrade() -> None:
    """Make it, with a row."""
    op.create_table("later", sa.Column("words", sa.String))
    op.execute("INSERT INTO later VALUES ('what only the newer release keeps')")


def downgrade() -> None:
    """Drop it."""
    op.drop_table("later")
'''
# After everything else has started, the schema included.
FAILS = "\nimport os\n\ncallbacks.on_start(lambda: os._exit(3))\n"
ORDER = (
    "MSH|^~\\&|HIS|H|PACS|H|20261122080000||ORM^O01|UPGRADE{number}|P|2.3.1\r"
    "PID|1||UP1^^^H||UPGRADE^ANA||19800101|F\rPV1|1|O\r"
    "ORC|NW|UP{number}|||||^^^20991231080000\r"
    "OBR|1|UP{number}||CT1^CT head|||||||||||||||UP{number}|UP{number}||||CT|||^^^20991231080000\r"
)
SAY = """
import socket, sys
with socket.create_connection((sys.argv[1], 2575), 10) as door:
    door.sendall(b"\\x0b" + sys.argv[2].encode() + b"\\x1c\\r")
    answer = b""
    while not answer.endswith(b"\\x1c\\r"):
        answer += door.recv(4096)
print(answer.decode())
"""


@pytest.fixture(scope="module", autouse=True)
def as_it_was(server: PreparedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Bring checkout and server back to what they were; meanwhile no golden signal comes and goes in the counts."""
    kept = tmp_path_factory.mktemp("checkout")
    for name in CHANGED:
        _copy(server.project / name, kept / name)
    choice = server.project / "host_vars" / f"{server.domain}.yml"
    choice.parent.mkdir(exist_ok=True)
    choice.write_text("orthanc_golden_signal_minutes: 0\n")
    _upgrade(server)
    yield
    for name in CHANGED:
        _copy(kept / name, server.project / name)
    choice.unlink()
    _upgrade(server)


def _copy(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _upgrade(server: PreparedServer, *arguments: str) -> str:
    done = server.playbook("upgrade.yml", *arguments)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def running(server: PreparedServer) -> str:
    """Return the release that runs."""
    return server.ask("basename $(readlink /opt/pacs)")


def query(server: PreparedServer, statement: str) -> str:
    """Ask the plugins' database."""
    return server.ask(f'runuser -u postgres -- psql -qAt pacs -c "{statement}"')


def order(server: PreparedServer, people: dict[str, Host], number: int) -> str:
    """Send an order as the hospital's system does, and return the answer."""
    return people["his"].run("python3", "-c", SAY, server.lan_address, ORDER.format(number=number)).stdout


def kept(server: PreparedServer) -> dict[str, str]:
    """Return what must be the same whatever release runs."""
    return {
        "images": server.ask("curl -sS http://127.0.0.1:8042/statistics | grep CountInstances"),
        "studies": query(server, "SELECT string_agg(study_instance_uid, ' ' ORDER BY study_instance_uid) FROM studies"),
        "orders": query(
            server, "SELECT string_agg(accession_number, ' ' ORDER BY accession_number) FROM worklist_steps"
        ),
        # Not the news that a study is complete, which comes a minute after its last image.
        "messages": query(
            server,
            "SELECT string_agg(control_id || coalesce(queue, ''), ' ' ORDER BY hl7_messages.id) FROM hl7_messages"
            " LEFT JOIN work_items ON work_item_id = work_items.id WHERE peer = 'HIS' AND message_type = 'ORM'",
        ),
        "schema": query(server, "SELECT version_num FROM alembic_version"),
    }


@pytest.fixture(scope="module")
def acknowledged(
    server: PreparedServer, people: dict[str, Host], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Have the archive take images, and an order whose news it can't deliver; return all that it keeps."""
    folder = tmp_path_factory.mktemp("images")
    for number, instance in enumerate(ct_series()):
        (folder / f"{number}.dcm").write_bytes(as_file(instance))
    sent = people["modality"].run(
        *("/usr/bin/dcmsend", "-aet", "CT1", "-aec", "PACS", server.lan_address, "4242", "+sd", folder),
        timeout_seconds=120,
    )
    assert sent.returncode == 0, sent.stderr[-2000:]
    assert "MSA|AA|UPGRADE1" in order(server, people, 1)
    # The list of studies follows the images in a moment.
    give_up_at = time.monotonic() + LISTED_WITHIN_SECONDS
    while not query(server, "SELECT 1 FROM studies"):
        assert time.monotonic() < give_up_at, "the list of studies does not have what was stored"
        time.sleep(0.5)
    return kept(server)


def newest_migration(server: PreparedServer) -> str:
    """Return the newest revision of the checkout."""
    versions = server.project / "plugins/pacs/database/migrations/versions"
    newest = max(path.name for path in versions.glob("0*.py"))
    return newest.removesuffix(".py")


def add_migration(server: PreparedServer) -> None:
    """Let the checkout's next release have a newer schema."""
    added_migration(server).write_text(MIGRATION.format(newest=newest_migration(server)))


def added_migration(server: PreparedServer) -> Path:
    """Return where in the checkout the newer schema is."""
    return server.project / "plugins/pacs/database/migrations/versions" / f"{NEWEST}.py"


def test_release_that_does_not_start_is_taken_back_with_its_schema(
    server: PreparedServer, people: dict[str, Host], acknowledged: dict[str, str]
) -> None:
    """The release before runs again by itself on the schema that it knows, with everything that was acknowledged."""
    before, entry = running(server), server.project / "plugins/pacs_entry.py"
    add_migration(server)
    words = entry.read_text()
    entry.write_text(words + FAILS)
    try:
        done = server.playbook("upgrade.yml")
    finally:
        entry.write_text(words)

    assert done.returncode != 0
    assert "runs again: nothing was lost" in done.stdout, done.stdout[-3000:]
    assert running(server) == before
    assert kept(server) == acknowledged
    assert "MSA|AA|UPGRADE2" in order(server, people, 2)
    assert server.run("pacs-selftest", 120).returncode == 0
    put_away = server.ask("ls -t /srv/pacs/put-away/*.dump | head -n 1")
    assert "what only the newer release keeps" in server.ask(f"pg_restore --data-only --table=later -f - {put_away}")


def test_new_release_is_installed_without_its_packages_anew(server: PreparedServer) -> None:
    """Changed plugins and a newer schema become a release of their own; the Python packages are those of before."""
    before = {"release": running(server), "packages": server.ask("readlink /opt/pacs/venv"), "kept": kept(server)}
    add_migration(server)
    (server.project / "plugins/pacs/later.py").write_text('"""Only the newer release has it."""\n')

    _upgrade(server)

    assert running(server) != before["release"]
    assert server.ask("readlink /opt/pacs/venv") == before["packages"]
    assert server.ask("ls /opt/pacs/plugins/pacs/later.py")
    assert kept(server) == before["kept"] | {"schema": NEWEST}


def test_upgrade_changes_nothing_when_it_runs_again(server: PreparedServer) -> None:
    """A release that runs is not installed, started or packed anew."""
    release = running(server)
    started = server.ask("systemctl show -P ActiveEnterTimestamp orthanc")

    assert "changed=0" in _upgrade(server)
    assert (running(server), server.ask("systemctl show -P ActiveEnterTimestamp orthanc")) == (release, started)


def test_rollback_across_a_schema_is_refused_before_anything_stops(server: PreparedServer) -> None:
    """Who goes back is told that the older release does not know the schema, and what can be done."""
    release, started = running(server), server.ask("systemctl show -P ActiveEnterTimestamp orthanc")

    done = server.playbook("rollback.yml")

    assert done.returncode != 0
    assert f"has schema {NEWEST}" in done.stdout
    assert "orthanc_rollback_schema=true" in done.stdout
    assert (running(server), server.ask("systemctl show -P ActiveEnterTimestamp orthanc")) == (release, started)


def test_rollback_brings_the_schema_back_when_it_is_told_to(server: PreparedServer, people: dict[str, Host]) -> None:
    """The older release runs on its schema with everything that it knows; what it does not is in the file put away."""
    release = running(server)
    assert "MSA|AA|UPGRADE3" in order(server, people, 3)
    now = kept(server)

    done = server.playbook("rollback.yml", "-e", "orthanc_rollback_schema=true")

    assert done.returncode == 0, done.stdout[-4000:]
    assert running(server) != release
    assert kept(server) == now | {"schema": newest_migration(server)}
    put_away = server.ask("ls -t /srv/pacs/put-away/*.dump | head -n 1")
    assert release in put_away
    assert server.ask("stat -c %a /srv/pacs/put-away") == "700"
    assert "UP3" in server.ask(f"pg_restore --data-only --table=worklist_steps -f - {put_away}")

    again = server.playbook("rollback.yml", "-e", f"orthanc_rollback_to={running(server)}")
    assert "changed=0" in again.stdout


def test_release_with_other_packages_comes_without_the_package_index(
    server: PreparedServer, tmp_path: Path, acknowledged: dict[str, str]
) -> None:
    """Packages fetched on the administrator's machine are enough: the server asks nobody outside."""
    # Its schema is the one that the server was brought back to.
    added_migration(server).unlink()
    lock = server.project / "requirements.lock"
    lock.write_text(f"{lock.read_text()}# another one\n")
    wheels = tmp_path / "wheels"
    # From where these tests run: the administrator of this hospital has no way to the internet.
    fetched = subprocess.run(
        ["ansible-playbook", "ansible/wheelhouse.yml", "-e", f"wheelhouse={wheels}"],
        cwd=server.project, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert fetched.returncode == 0, fetched.stdout[-3000:]
    before = server.ask("readlink /opt/pacs/venv")
    server.ask("nft insert rule inet pacs output meta skuid root tcp dport { 80, 443 } counter reject comment cut-off")
    try:
        done = server.playbook(
            "site.yml",
            "--tags",
            "viewers,orthanc",
            "-e",
            f"orthanc_wheelhouse={wheels}",
            "-e",
            "viewers_build=/opt/pacs/viewers",
        )
        asked = server.ask("nft list chain inet pacs output | grep cut-off")
    finally:
        server.ask("systemctl reload nftables")

    assert done.returncode == 0, done.stdout[-4000:]
    assert server.ask("readlink /opt/pacs/venv") != before
    assert "packets 0 " in asked
    assert kept(server)["images"] == acknowledged["images"]

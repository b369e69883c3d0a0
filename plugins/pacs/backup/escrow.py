"""The escrow: what is needed to begin anew on another machine, encrypted to a key that is kept off this server.

Every place has it in the repository `escrow`, which opens with the word "escrow": what is in it is a CMS envelope
(RFC 5652, AES-256-GCM) that the offline key alone opens, with OpenSSL. So a backup place and that key are enough.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pacs.backup import programs
from pacs.backup.errors import BackupError
from pacs.backup.places import ESCROW, Place
from pacs.backup.settings import BackupSettings

ENVELOPE = "escrow.cms"
README = "README.txt"
_DAYS = "36500"
_TEXT = """What is needed to begin anew on another machine, encrypted to the offline key of this archive.
Lo necesario para empezar de nuevo en otra máquina, cifrado para la clave fuera de línea de este archivo.
O necessário para recomeçar em outra máquina, cifrado para a chave off-line deste arquivo.

    openssl cms -decrypt -inform DER -in escrow.cms -inkey offline.key -out escrow.tar
"""


def new_key(key: Path, certificate: Path) -> None:
    """Make an offline key, with its certificate for this server. The key must leave this server at once."""
    for path in (key, certificate):
        if path.exists():
            raise BackupError(f"{path} exists already.", remedy="A new key makes older escrows need the older key.")
    key.touch(mode=0o600)
    subject = ["-subj", "/CN=PACS Cloud backup, offline key", "-days", _DAYS]
    kind = ["-newkey", "rsa:4096", "-noenc"]
    programs.run(["openssl", "req", "-x509", *kind, *subject, "-keyout", key, "-out", certificate])


def seal(settings: BackupSettings, target: Path) -> None:
    """Write what stands in the settings as one encrypted file. Nothing of it touches a disk in the clear."""
    present = [path for path in settings.escrow.paths if path.exists()]
    if not present:
        raise BackupError("There is nothing to put into the escrow.", remedy="Name its paths in backup.yml.")
    recipient = settings.escrow.recipient
    command: programs.Command = [
        "openssl",
        "cms",
        "-encrypt",
        "-binary",
        "-stream",
        "-aes-256-gcm",
        "-outform",
        "DER",
        "-out",
        target,
        recipient,
    ]
    with programs.start(command, stdin=subprocess.PIPE) as child:
        if child.stdin is None or child.stderr is None:
            raise AssertionError
        with child.stdin, tarfile.open(fileobj=child.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for path in present:
                tar.add(path, arcname=str(path).lstrip("/"))
        said = child.stderr.read()
        programs.require_success(command, child.wait(), said)


def send(settings: BackupSettings, place: Place) -> None:
    """Seal and send it to a place."""
    with tempfile.TemporaryDirectory(dir=settings.work, prefix="escrow-") as name:
        folder = Path(name)
        seal(settings, folder / ENVELOPE)
        (folder / README).write_text(_TEXT, encoding="utf-8")
        place.repository(ESCROW).save(folder, {"sealed": f"{datetime.now(UTC):%Y-%m-%d}"}, compressed=True)


def fetch(place: Place, folder: Path) -> datetime:
    """Write the newest escrow of a place into a folder and return when it was sealed. Raise BackupError: none there."""
    place.require_reachable()
    repository = place.repository(ESCROW)
    found = repository.snapshots() if repository.exists() else []
    if not found:
        raise BackupError(f"{place.name} has no escrow.")
    repository.restore(found[-1].snapshot_id, folder)
    return found[-1].at


def open_envelope(envelope: Path, key: Path, folder: Path) -> list[str]:
    """Decrypt an escrow with the offline key into a folder; return the names. Raise BackupError: another key."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="escrow-") as name:  # memory, never a disk
        plain = Path(name) / "escrow.tar"
        try:
            programs.run(
                ["openssl", "cms", "-decrypt", "-inform", "DER", "-in", envelope, "-inkey", key, "-out", plain]
            )
        except BackupError as error:
            raise BackupError(f"{envelope} does not open with {key}: another offline key, or damaged.") from error
        with tarfile.open(plain) as tar:
            tar.extractall(folder, filter="tar")
            return tar.getnames()

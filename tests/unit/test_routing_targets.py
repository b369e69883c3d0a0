"""targets.yaml: every mistake told with its line and cure, a good file never replaced by a broken one."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pacs.errors import NotFound
from pacs.routing.delivery.windows import seconds_until_open
from pacs.routing.orders import ROUTINE, STAT
from pacs.routing.targets.library import Targets
from pacs.routing.targets.model import DicomTarget, Proof, StowTarget
from pacs.routing.targets.own import OWN_TARGET, own_target
from pacs.routing.targets.reading import TargetsError, read_targets

GOOD = """
targets:
  reader:
    kind: dicom
    aet: READER
    host: 10.1.0.6
    proof: commitment
    kib_per_second: 2000
  cloud:
    kind: stow
    url: https://cloud.example/dicom-web
    password: ${CLOUD}
    user: pacs
"""


def test_targets_are_read_with_their_secrets_in_place() -> None:
    """Values have their types, ${NAME} becomes the secret, what is not said has its default."""
    targets = read_targets(GOOD, secrets={"CLOUD": "geheim"}.get)
    reader, cloud = targets["reader"], targets["cloud"]
    assert isinstance(reader, DicomTarget)
    assert (reader.aet, reader.port, reader.proof, reader.kib_per_second) == ("READER", 104, Proof.COMMITMENT, 2000)
    assert isinstance(cloud, StowTarget)
    assert (cloud.user, cloud.password, cloud.proof) == ("pacs", "geheim", Proof.QUERY)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("targets: [", 1, "no YAML"),
        ("- a", 1, "lines of `key: value`"),
        ("target: {}", 1, 'unknown key "target"'),
        ("targets:\n  a b: {kind: folder, path: /x}", 2, "is no name"),
        ("targets:\n  a: text", 2, "beginning with kind"),
        ("targets:\n  a:\n    aet: X", 2, "expected kind: dicom, stow, peer, folder, sftp"),
        ("targets:\n  a:\n    kind: dicon", 3, 'found "dicon"'),
        ("targets:\n  a:\n    kind: dicom\n    aet: READER", 2, "expected aet and host, or modality"),
        ("targets:\n  a:\n    kind: dicom\n    modality: M\n    aet: R\n    host: h", 2, "found both"),
        ("targets:\n  a:\n    kind: dicom\n    aet: TOO-LONG-FOR-AN-AET\n    host: h", 4, "aet"),
        ("targets:\n  a:\n    kind: dicom\n    aet: R\n    host: h\n    port: 70000", 6, "65535"),
        ("targets:\n  a:\n    kind: dicom\n    aet: R\n    host: h\n    port: many", 6, 'found "many"'),
        ("targets:\n  a:\n    kind: dicom\n    aet: R\n    host: h\n    prot: 104", 6, 'did you mean "port"?'),
        ("targets:\n  a:\n    kind: dicom\n    aet: R\n    host: h\n    proof: maybe", 6, "commitment"),
        ("targets:\n  a:\n    kind: dicom\n    aet: R\n    host: h\n    window: 22-6", 6, "22:00-06:00"),
        ("targets:\n  a:\n    kind: dicom\n    aet: R\n    host: h\n    parallel: 0", 6, "greater than or equal to 1"),
        ("targets:\n  a:\n    kind: dicom\n    aet: R\n    host: h\n    retry_days: -1", 6, "greater than 0"),
        ("targets:\n  a:\n    kind: dicom\n    aet: R\n    host: h\n    kib_per_second: 0", 6, "greater than 0"),
        (
            "targets:\n  a:\n    kind: dicom\n    aet: R\n    host: h\n    tls:\n      verfy: no",
            7,
            'did you mean "verify"?',
        ),
        ("targets:\n  a:\n    kind: dicom\n    aet: R\n    host: h\n    aet: S", 6, "stands twice (first in line 4)"),
        ("targets:\n  a:\n    kind: dicom\n    aet: R\n    host: [h]", 5, "remove the dash"),
        ("targets:\n  a:\n    kind: stow", 2, '"url" is missing'),
        ("targets:\n  a:\n    kind: stow\n    url: ftp://x", 4, "url"),
        ("targets:\n  a:\n    kind: stow\n    url: https://x:port", 4, "url"),
        ("targets:\n  a:\n    kind: stow\n    url: https://x\n    proof: commitment", 5, "expected query or none"),
        (
            "targets:\n  a:\n    kind: stow\n    url: https://x\n    password: ${NOWHERE}",
            5,
            "there is no secret NOWHERE",
        ),
        ("targets:\n  a:\n    kind: peer\n    url: https://x\n    token: x", 5, 'unknown key "token"'),
        ("targets:\n  a:\n    kind: folder", 2, '"path" is missing'),
        ("targets:\n  a:\n    kind: sftp\n    host: h\n    user: u", 2, '"host_key" is missing'),
        ("targets:\n  a:\n    kind: sftp\n    host: h\n    user: u\n    host_key: AAAA", 6, "host_key"),
        ("targets:\n  a: {kind: folder, path: /x}\n  a: {kind: folder, path: /y}", 3, "stands twice"),
    ],
)
def test_mistake_is_told_with_its_line_and_cure(text: str, line: int, words: str) -> None:
    """Each of thirty broken files names the line and what is expected there."""
    with pytest.raises(TargetsError) as caught:
        read_targets(text, secrets=lambda _name: None)
    assert any(fault.startswith(f"line {line}: ") and words in fault for fault in caught.value.faults), caught.value


def test_all_mistakes_are_told_at_once_and_no_secret_among_them() -> None:
    """Three mistakes are three lines; a password is never repeated."""
    text = (
        GOOD.replace("aet: READER", "aet: 'Ü'")
        .replace("user: pacs", "usr: pacs")
        .replace("kib_per_second: 2000", "x: 1")
    )
    with pytest.raises(TargetsError) as caught:
        read_targets(text, secrets={"CLOUD": "geheim"}.get)
    assert len(caught.value.faults) == 3
    assert "geheim" not in str(caught.value)


def test_former_targets_stay_in_force_when_the_file_is_broken(tmp_path: Path) -> None:
    """A broken file changes nothing but the faults; a good one is in force at the next look."""
    file = tmp_path / "targets.yaml"
    targets = Targets(file)
    assert targets.names() == []
    _write(file, "targets:\n  a: {kind: folder, path: /x}", 1)
    assert targets.reload()
    _write(file, "targets:\n  b: {kind: folder}", 2)
    assert not targets.reload()
    assert targets.names() == ["a"]
    assert targets.faults
    _write(file, "targets:\n  b: {kind: folder, path: /x}", 3)
    assert targets.reload()
    assert (targets.names(), targets.faults) == (["b"], [])
    with pytest.raises(NotFound):
        targets.get("a")


def test_target_of_our_own_can_be_sent_to_and_is_not_offered(tmp_path: Path) -> None:
    """No rule and no page hears of it; a target of a hospital can't take its name."""
    file = tmp_path / "targets.yaml"
    _write(file, "targets:\n  a: {kind: folder, path: /x}", 1)
    targets = Targets(file, own={OWN_TARGET: own_target(tmp_path)})
    assert targets.names() == ["a"]
    assert targets.get(OWN_TARGET).proof is Proof.QUERY
    _write(file, f"targets:\n  {OWN_TARGET}: {{kind: folder, path: /x}}", 2)
    assert not targets.reload()
    assert targets.names() == ["a"]
    assert OWN_TARGET in targets.faults[0]


@pytest.mark.parametrize(
    ("window", "at", "urgency", "hours"),
    [
        (None, "12:00", ROUTINE, 0),
        ("22:00-06:00", "12:00", ROUTINE, 10),
        ("22:00-06:00", "23:00", ROUTINE, 0),
        ("22:00-06:00", "05:59", ROUTINE, 0),
        ("22:00-06:00", "06:00", ROUTINE, 16),
        ("22:00-06:00", "12:00", STAT, 0),
        ("08:00-10:00", "11:00", ROUTINE, 21),
    ],
)
def test_window_tells_how_long_to_wait(window: str | None, at: str, urgency: int, hours: float) -> None:
    """A window may go over midnight; urgent studies don't wait for it."""
    target = DicomTarget(kind="dicom", aet="R", host="h", window=window)
    zone = ZoneInfo("America/Asuncion")
    now = datetime.combine(datetime(2026, 11, 22, tzinfo=UTC).date(), datetime.strptime(at, "%H:%M").time(), zone)  # noqa: DTZ007
    assert seconds_until_open(target, urgency, now, zone) == hours * 3600


def _write(file: Path, text: str, number: int) -> None:
    file.write_text(text)
    # Another moment, however coarse the file system's clock is.
    os.utime(file, (number, number))

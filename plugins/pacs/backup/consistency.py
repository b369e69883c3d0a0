"""Orthanc's index against its files, both ways: `python -m pacs.backup.consistency [--quarantine]`.

Missing: the index names a file that is not there. Orphan: a file that the index does not name, of a deletion that was
cut or of a restore; it harms nobody and may be the only copy, so it is moved aside on request and never deleted.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacs.backup.orthanc_index import Attachment, OrthancIndex, Reading, StudyName
from pacs.backup.storage import Storage

QUARANTINE = "quarantine"
# Orthanc writes a file before its row: a file of the last hour may be on its way.
_YOUNG_SECONDS = 3600.0


@dataclass(frozen=True)
class Finding:
    """What one comparison found.

    Attributes
    ----------
    missing : attachments without their file, by study; None: of a patient, which no study has.
    truncated : attachments whose file has another size, by study.
    orphans : names of files that no attachment names.
    quarantined : where orphans were moved.
    """

    attachments: int
    files: int
    missing: dict[StudyName | None, list[Attachment]]
    truncated: dict[StudyName | None, list[Attachment]]
    orphans: list[str]
    orphan_bytes: int
    quarantined: list[Path] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """True when every file that the index names is there, with its size."""
        return not self.missing and not self.truncated

    def lines(self) -> list[str]:
        """Return the finding as lines for a person."""
        told = [f"{self.attachments} attachments in the index, {self.files} files in the storage area"]
        for word, group in (("missing", self.missing), ("of another size", self.truncated)):
            for study, those in group.items():
                name = f"study {study.study_instance_uid} ({study.orthanc_study_id})" if study else "no study"
                told.append(f"{word}: {len(those)} of {name}: {', '.join(one.uuid for one in those)}")
        told.append(f"orphans: {len(self.orphans)}, {self.orphan_bytes} bytes")
        told += [f"orphan: {name}" for name in self.orphans]
        told += [f"put aside: {path}" for path in self.quarantined]
        return told


def compare(index: OrthancIndex, storage: Storage, *, young_seconds: float = _YOUNG_SECONDS) -> Finding:
    """Compare; Orthanc may run meanwhile.

    Files are listed before rows are, so that no new image looks like an orphan; what seems missing is looked at again
    at the end, since it may just have been deleted.
    """
    sizes, young = _sizes(storage, time.time() - young_seconds)
    files = len(sizes)
    with index.reading() as reading:
        named, suspects = 0, []
        for one in reading.attachments():
            named += 1
            size = sizes.pop(one.uuid, -1)
            if size != one.size_bytes:
                suspects.append(one)
    missing, truncated = _confirmed(index, storage, suspects)
    orphans = {name: size for name, size in sizes.items() if name not in young}
    return Finding(named, files, missing, truncated, sorted(orphans), sum(orphans.values()))


def quarantine(finding: Finding, storage: Storage) -> Finding:
    """Move the orphans aside, into `quarantine` beside the storage area, and tell where."""
    finding.quarantined.extend(storage.put_aside(name, QUARANTINE) for name in finding.orphans)
    return finding


def _sizes(storage: Storage, young_since: float) -> tuple[dict[str, int], set[str]]:
    sizes: dict[str, int] = {}
    young: set[str] = set()
    for entry in storage.files():
        try:
            facts = entry.stat()
        except FileNotFoundError:
            continue  # deleted while we looked
        sizes[entry.name] = facts.st_size
        if facts.st_mtime > young_since:
            young.add(entry.name)
    return sizes, young


type _ByStudy = dict[StudyName | None, list[Attachment]]


def _confirmed(index: OrthancIndex, storage: Storage, suspects: Sequence[Attachment]) -> tuple[_ByStudy, _ByStudy]:
    """Look again at what seems wrong: rows that are still there, files that still differ."""
    missing: _ByStudy = defaultdict(list)
    truncated: _ByStudy = defaultdict(list)
    if not suspects:
        return {}, {}
    with index.reading() as reading:
        still = {one.uuid for one in reading.attachments()} if len(suspects) > 1000 else _named(reading, suspects)  # noqa: PLR2004
        studies = reading.studies_of(one.resource for one in suspects)
    for one in suspects:
        path = storage.path(one.uuid)
        if one.uuid in still and not path.exists():
            missing[studies.get(one.resource)].append(one)
        elif one.uuid in still and path.stat().st_size != one.size_bytes:
            truncated[studies.get(one.resource)].append(one)
    return dict(missing), dict(truncated)


def _named(reading: Reading, suspects: Sequence[Attachment]) -> set[str]:
    found: set[str] = set()
    for one in suspects:
        found |= {row.uuid for row in reading.attachments(after=(one.resource, one.kind - 1), limit=1)}
    return found


def main() -> int:
    """Run `python -m pacs.backup consistency`."""
    import sys  # noqa: PLC0415

    from pacs.backup.__main__ import main as command  # noqa: PLC0415 - it imports this module

    return command(["consistency", *sys.argv[1:]])


if __name__ == "__main__":
    raise SystemExit(main())

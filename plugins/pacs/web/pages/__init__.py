"""The pages, one module each."""

from pacs.web.pages import (
    aes,
    backups,
    frames,
    hl7_journal,
    hl7_mapping,
    home,
    mesh,
    rehearsal,
    studies,
    study,
    system,
    upload,
    worklist,
)

STANDARD_PAGES = (
    home.PAGES,
    studies.PAGES,
    study.PAGES,
    worklist.PAGES,
    upload.PAGES,
    mesh.PAGES,
    hl7_journal.PAGES,
    hl7_mapping.PAGES,
    rehearsal.PAGES,
    aes.PAGES,
    backups.PAGES,
    system.PAGES,
    frames.PAGES,
)

"""The pages, one module each."""

from pacs.web.pages import (
    aes,
    frames,
    hl7_journal,
    hl7_mapping,
    home,
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
    hl7_journal.PAGES,
    hl7_mapping.PAGES,
    rehearsal.PAGES,
    aes.PAGES,
    system.PAGES,
    frames.PAGES,
)

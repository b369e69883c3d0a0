"""Which action each page is, by the name of its route: Flask acts on that, whatever the address looked like."""

from __future__ import annotations

from pacs.access.roles import Action

# A route that is not here is to ADMINISTER.
PAGES: dict[str, Action] = {
    "assets.static_file": Action.COME_IN,
    "assets.vendor_file": Action.COME_IN,
    "home.index": Action.COME_IN,
    "home.preferences": Action.COME_IN,
    "home.health": Action.COME_IN,
    "home.metrics": Action.ADMINISTER,
    "studies.index": Action.LOOK,
    "study.show": Action.LOOK,
    "study.by_orthanc_id": Action.LOOK,
    "study.thumbnail": Action.LOOK,
    "study.kind_picture": Action.LOOK,
    "study.download": Action.DOWNLOAD,
    "study.send": Action.SEND,
    "study.sending": Action.SEND,
    "frames.show": Action.READ_DICOMWEB,
    "upload.index": Action.UPLOAD,
    "upload.studies": Action.UPLOAD,
    "worklist.index": Action.READ_WORKLIST,
    "worklist.show": Action.READ_WORKLIST,
    "worklist.new": Action.EDIT_WORKLIST,
    "worklist.add": Action.EDIT_WORKLIST,
    "worklist.edit": Action.EDIT_WORKLIST,
    "worklist.change": Action.EDIT_WORKLIST,
    "worklist.set_status": Action.EDIT_WORKLIST,
    "worklist.ask_cancel": Action.EDIT_WORKLIST,
    "worklist.cancel": Action.EDIT_WORKLIST,
    "aes.index": Action.READ_AES,
    "aes.verify": Action.READ_AES,
    "aes.new": Action.ADMINISTER,
    "aes.add": Action.ADMINISTER,
    "aes.edit": Action.ADMINISTER,
    "aes.change": Action.ADMINISTER,
    "aes.ask_removal": Action.ADMINISTER,
    "aes.remove": Action.ADMINISTER,
    "hl7_journal.index": Action.ADMINISTER,
    "hl7_journal.show": Action.ADMINISTER,
    "hl7_journal.replay": Action.ADMINISTER,
    "hl7_journal.ask_skip": Action.ADMINISTER,
    "hl7_journal.skip": Action.ADMINISTER,
    "hl7_journal.edit": Action.ADMINISTER,
    "hl7_journal.correct": Action.ADMINISTER,
    "hl7_mapping.index": Action.ADMINISTER,
    "hl7_mapping.test": Action.ADMINISTER,
    "rehearsal.index": Action.ADMINISTER,
    "rehearsal.start": Action.ADMINISTER,
    "rehearsal.show": Action.ADMINISTER,
    "system.index": Action.ADMINISTER,
    "system.act_on_job": Action.ADMINISTER,
}


def action_of_page(endpoint: str) -> Action:
    """Return what asking for a page does."""
    return PAGES.get(endpoint, Action.ADMINISTER)

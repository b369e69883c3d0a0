"""Rules in the running archive: what happens asks them, what they decide is noted, ordered and done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from fixtures.fictitious_studies import dicom_image
from fixtures.ports import free_port
from fixtures.running_pacs import RunningPacs, running
from fixtures.stations import store_all
from fixtures.worklist_entries import database_of, enter, entry
from pacs.routing.decisions.journal import Decision, DecisionJournal
from pacs.routing.decisions.models import MarkRecord
from pacs.routing.delivery.models import DeliveryRecord
from pacs.routing.rules.triggers import Event

_BROWSER = {"Accept": "text/html", "Accept-Language": "en"}
NOBODY = free_port()
TARGETS = f"""
targets:
  nobody: {{kind: dicom, aet: NOBODY, host: 127.0.0.1, port: {NOBODY}}}
  here: {{kind: dicom, aet: HERE, host: 127.0.0.1, port: {NOBODY}}}
"""
RULES = """
rules:
  - name: Head CT
    if:
      Modality: CT
      BodyPartExamined: HEAD
      ProcedureCodeSequence.CodeValue: X-17
      sender: STORESCU
      sender_address: 127.0.0.0/8
    do:
      - send: nobody
        urgency: urgent
      - label: [head, routed]
  - name: When the label is set
    on: label set
    if: {labels: urgent}
    do:
      - send: here
        urgency: stat
  - name: Order done
    on: study complete
    if: {worklist: yes, order_priority: HIGH}
    do:
      - label: order-done
  - name: Every series
    on: series stable
    if: {SeriesDescription: contains angio}
    do:
      - send: here
  - name: Asked by a person
    on: by hand
    do:
      - set: {InstitutionName: Hospital Norte}
fallback:
  do:
    - label: unrouted
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPacs]:
    """Run an archive with these rules and targets; the targets are not there."""
    data = tmp_path_factory.mktemp("pacs")
    folder = data / "plugins" / "routing"
    folder.mkdir(parents=True)
    (folder / "targets.yaml").write_text(TARGETS)
    (folder / "rules.yaml").write_text(RULES)
    with running(data) as started:
        yield started


def head_ct(**others: str) -> Dataset:
    """Return an image that the first rule is about."""
    image = dicom_image(Modality="CT")
    image.BodyPartExamined = "HEAD"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "X-17", "99TEST", "Head"
    image.ProcedureCodeSequence = [code]
    for keyword, value in others.items():
        setattr(image, keyword, value)
    return image


def stored(archive: RunningPacs, image: Dataset) -> str:
    """Store an image by DICOM and return Orthanc's identifier of its study."""
    store_all(archive, [image], calling="STORESCU")
    (study,) = archive.archive.post_json(
        "/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": image.StudyInstanceUID}}
    )
    return str(study)


def waited[T](ask: Callable[[], T], *, seconds: float = 40) -> T:
    """Return the first answer that is one."""
    give_up_at = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < give_up_at:
        time.sleep(0.3)
    assert answer
    return answer


def decided(archive: RunningPacs, study: str, event: Event) -> Callable[[], Decision | None]:
    """Return what asks for the newest decision of an event."""

    def ask() -> Decision | None:
        with database_of(archive.data_directory) as database:
            found = DecisionJournal(database).about(study)
        return next((one for one in found if one.event is event), None)

    return ask


def deliveries(archive: RunningPacs, study: str) -> dict[str, DeliveryRecord]:
    """Return the deliveries of a study by target."""
    with database_of(archive.data_directory) as database, database.session() as session:
        rows = session.query(DeliveryRecord).filter_by(orthanc_study_id=study).all()
    return {row.target: row for row in rows}


def labels(archive: RunningPacs, study: str) -> set[str]:
    """Return a study's labels."""
    return set(archive.archive.get_json(f"/studies/{study}/labels"))


def is_watched(archive: RunningPacs, label: str) -> bool:
    """Tell whether the watch waits for a label."""
    with database_of(archive.data_directory) as database, database.session() as session:
        return session.get(MarkRecord, ("label", label)) is not None


def test_stable_study_is_decided_ordered_and_labelled(archive: RunningPacs) -> None:
    """Conditions on sequences, the sender and its address are met; the order and the labels follow."""
    study = stored(archive, head_ct())
    decision = waited(decided(archive, study, Event.STUDY_STABLE))
    assert (decision.rules, decision.targets, decision.version) == (["Head CT"], ["nobody"], 1)
    assert waited(lambda: labels(archive, study) == {"head", "routed"})
    row = deliveries(archive, study)["nobody"]
    assert (row.rule, row.urgency, row.reason) == ("Head CT", 10, "study stable")


def test_fallback_takes_what_no_rule_meets(archive: RunningPacs) -> None:
    """A study that meets no rule of its event is left to the fallback."""
    study = stored(archive, dicom_image(Modality="US"))
    assert waited(decided(archive, study, Event.STUDY_STABLE)).rules == ["fallback"]
    assert waited(lambda: labels(archive, study) == {"unrouted"})


def test_label_that_is_set_asks_once(archive: RunningPacs) -> None:
    """A label that somebody sets at Orthanc asks the rules that wait for it, others don't."""
    study = stored(archive, dicom_image(Modality="US"))
    waited(decided(archive, study, Event.STUDY_STABLE))
    # What was labelled before the watch first looked is no news.
    waited(lambda: is_watched(archive, "urgent"))
    archive.archive.put_json(f"/studies/{study}/labels/urgent", {})
    decision = waited(decided(archive, study, Event.LABEL_SET))
    assert (decision.detail, decision.targets) == ("urgent", ["here"])
    time.sleep(6)
    with database_of(archive.data_directory) as database:
        found = [one for one in DecisionJournal(database).about(study) if one.event is Event.LABEL_SET]
    assert len(found) == 1


def test_series_alone_is_ordered(archive: RunningPacs) -> None:
    """A rule on a stable series orders that series, not the study."""
    study = stored(archive, head_ct(SeriesDescription="Angio"))
    decision = waited(decided(archive, study, Event.SERIES_STABLE))
    assert decision.rules == ["Every series"]
    assert deliveries(archive, study)["here"].series == [decision.orthanc_series_id]


def test_completed_order_asks_when_images_and_order_are_done(archive: RunningPacs) -> None:
    """Neither the last image nor the end of the order alone completes the study: both together do."""
    uid = str(generate_uid(prefix=None))
    with database_of(archive.data_directory) as database:
        order = entry(priority="HIGH", StudyInstanceUID=uid, AccessionNumber="A-COMPLETE", PatientID="P-COMPLETE")
        enter(database, order)
    study = stored(archive, dicom_image(Modality="CT", StudyInstanceUID=uid, PatientID="P-COMPLETE"))
    waited(decided(archive, study, Event.STUDY_STABLE))
    assert waited(decided(archive, study, Event.STUDY_COMPLETE)).rules == ["Order done"]


def test_person_has_a_copy_made(archive: RunningPacs) -> None:
    """By hand, a copy with another attribute is stored; the study itself stays as it came."""
    study = stored(archive, head_ct(InstitutionName="Hospital Sur"))
    address = f"{archive.url}/pacs/routing/studies/{study}"
    waited(decided(archive, study, Event.STUDY_STABLE))
    assert httpx.post(address, data={"event": "by hand"}, headers={"Origin": archive.url}).status_code == 303

    def copied() -> list[str]:
        question = {"Level": "Study", "Query": {"InstitutionName": "Hospital Norte"}}
        return list(archive.archive.post_json("/tools/find", question))

    assert study not in waited(copied)
    assert archive.archive.get_json(f"/studies/{study}")["MainDicomTags"]["InstitutionName"] == "Hospital Sur"
    assert waited(decided(archive, study, Event.BY_HAND)).actor == "person:local"


def test_dry_run_and_tester_use_real_studies(archive: RunningPacs) -> None:
    """Before activation the pages tell what new rules would have done; the tester shows each value."""
    study = stored(archive, head_ct())
    decision = waited(decided(archive, study, Event.STUDY_STABLE))
    new = RULES.replace("send: nobody", "send: here")
    with httpx.Client(base_url=archive.url, headers=_BROWSER | {"Origin": archive.url}) as client:
        trial = client.get("/pacs/routing/test", params={"study": decision.study_instance_uid}).text
        assert "ProcedureCodeSequence.CodeValue: X-17" in trial
        assert "127.0.0.1" in trial
        answer = client.post("/pacs/routing/rules/dry-runs", data={"text": new, "version": "1", "days": "7"})
        run = answer.headers["location"]
        page = waited(lambda: text if "Put in force" in (text := client.get(run).text) else "")
        assert "send: here" in page
        assert "send: nobody" in page
    assert "here" not in deliveries(archive, study)


def test_file_that_is_broken_leaves_the_rules(archive: RunningPacs) -> None:
    """An editor's mistake is told on the page, and studies are routed by the former rules."""
    file = archive.data_directory / "plugins" / "routing" / "rules.yaml"
    file.write_text(RULES.replace("urgency: urgent", "urgency: soon"))
    try:
        waited(lambda: "rules.yaml, line 12" in httpx.get(f"{archive.url}/pacs/routing/rules", headers=_BROWSER).text)
        study = stored(archive, head_ct())
        assert waited(decided(archive, study, Event.STUDY_STABLE)).rules == ["Head CT"]
    finally:
        file.write_text(RULES)

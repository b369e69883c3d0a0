"""The routing pages on an archive in memory: the ledger, a study's journey, rules and their history, targets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fixtures.pages import Pages, pages
from fixtures.routed_studies import RULES, store_deliveries, write_routing
from fixtures.worklist_entries import enter, entry
from pacs.routing.decisions.models import CopyRecord
from pacs.worklist.statuses import StepStatus

NEW_RULES = RULES.replace("at least 16", "at least 18")


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Pages]:
    """Give the pages of an archive that routes nothing."""
    with pages(tmp_path) as made:
        yield made


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Give the pages of a hospital that routes."""
    write_routing(tmp_path / "routing")
    with pages(tmp_path) as started:
        yield started


@pytest.mark.parametrize("address", ["/routing", "/routing/rules", "/routing/readers", "/routing/targets"])
@pytest.mark.parametrize("language", ["en", "es", "pt"])
def test_pages_say_what_to_do_where_nothing_is_routed(empty: Pages, address: str, language: str) -> None:
    """Without files the pages say that nothing is sent, in each language."""
    answer = empty.client(language).get(address)
    assert answer.status_code == 200
    assert 'class="blank"' in answer.get_data(as_text=True) or address == "/routing/rules"


def test_ledger_shows_queues_and_deliveries(made: Pages) -> None:
    """Each target with its queue and trouble, each delivery with its state and the target's own words."""
    store_deliveries(made.database)
    page = made.client().get("/routing").get_data(as_text=True)
    for words in ("night-reader", "Away for 18", "1 dead letter", "0xA900", "Confirmed", "STAT", "NÚÑEZ", "8 MB/s"):
        assert words in page, words


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("state=failed", {"BENÍTEZ"}),
        ("state=done", {"GÓMEZ", "ORTIZ"}),
        ("target=night-reader", {"NÚÑEZ", "VERA"}),
        ("state=open&target=university", {"AYALA"}),
        ("state=nonsense&before=x", {"NÚÑEZ", "GÓMEZ", "AYALA", "BENÍTEZ", "ORTIZ", "VERA"}),
    ],
)
def test_ledger_is_narrowed(made: Pages, query: str, names: set[str]) -> None:
    """By state and target; what is no state counts as not entered."""
    store_deliveries(made.database)
    page = made.client().get(f"/routing?{query}").get_data(as_text=True)
    assert {name for name in ("NÚÑEZ", "GÓMEZ", "AYALA", "BENÍTEZ", "ORTIZ", "VERA") if name in page} == names


def test_dead_letter_shows_refusals_and_is_set_aside(made: Pages) -> None:
    """One delivery tells every refused image; a person sets it aside, and it is no dead letter any more."""
    store_deliveries(made.database)
    client = made.client()
    page = client.get("/routing/deliveries/4").get_data(as_text=True)
    assert page.count("Data set does not match SOP class") >= 3
    answer = client.post("/routing/deliveries/4/skip", headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 303
    assert made.services.routing.overview.get(4).state == "skipped"
    assert client.post("/routing/deliveries/4/burn").status_code == 404


def test_journey_tells_decision_and_deliveries(made: Pages) -> None:
    """From the first image over the rule that was met to each target."""
    study = store_deliveries(made.database)[0]
    page = made.client().get(f"/routing/studies/{study}").get_data(as_text=True)
    for words in ("Trauma at night", "night-reader, label: trauma", "stopped by Trauma at night", "rules of version 1"):
        assert words in page, words
    assert made.client().get("/routing/studies/unknown").status_code == 404


def test_study_is_routed_by_hand(made: Pages) -> None:
    """The button leaves a note for the rules with the person's name; nothing is sent in the request."""
    study = store_deliveries(made.database)[0]
    assert made.client().post(f"/routing/studies/{study}", data={"event": "study stable"}).status_code == 303
    (item,) = made.services.rules.queues[0].list_items(*made.services.rules.queues[0].counts())
    assert (item.payload["event"], item.payload["actor"], item.payload["again"]) == (
        "study stable",
        "person:local",
        False,
    )


def test_rules_are_shown_with_version_and_mistakes(made: Pages, tmp_path: Path) -> None:
    """The page shows the rules in force; a file with a mistake is told with its line, the rules stay."""
    client = made.client()
    page = client.get("/routing/rules").get_data(as_text=True)
    for words in (
        "Trauma at night",
        "Send to night-reader",
        "or to university while it is away",
        "version 1",
        "Switched off",
    ):
        assert words in page, words
    made.services.rules.book._looked_at = None
    (tmp_path / "routing" / "rules.yaml").write_text(RULES.replace("Modality:", "Modalty:"), encoding="utf-8")
    page = client.get("/routing/rules").get_data(as_text=True)
    assert "rules.yaml, line 6: unknown name" in page
    assert "Trauma at night" in page


def test_check_tells_faults_and_difference(made: Pages) -> None:
    """Without putting anything in force, a text is judged and compared."""
    client = made.client()
    good = client.post("/routing/rules/edit", data={"text": NEW_RULES, "version": "1"}).get_data(as_text=True)
    assert "3 rules, without a mistake." in good
    assert "+       age_years: at least 18" in good
    bad = client.post(
        "/routing/rules/edit", data={"text": "rules:\n- {}", "version": "1"}, headers={"HX-Request": "true"}
    )
    assert "<html" not in bad.get_data(as_text=True)
    assert made.services.rules.book.in_force().number == 1


def test_activation_is_a_version_that_can_be_rolled_back(made: Pages) -> None:
    """Who, why and what changed are there; rolled back, the former text is in force as a new version."""
    client = made.client()
    answer = client.post("/routing/rules/activate", data={"text": NEW_RULES, "version": "1", "reason": "adults only"})
    assert answer.status_code == 303
    page = client.get("/routing/rules/versions/2").get_data(as_text=True)
    assert "adults only" in page
    assert "-       age_years: at least 16" in page
    assert client.post("/routing/rules/versions/1", data={"reason": "back"}).status_code == 303
    assert made.services.rules.book.in_force().rules.text == RULES
    assert made.services.rules.book.in_force().number == 3


def test_activation_with_mistakes_or_over_others_is_refused(made: Pages) -> None:
    """A broken text answers 422 with its faults and the text as it was entered, an outdated one 409."""
    client = made.client()
    broken = client.post("/routing/rules/activate", data={"text": "rules: 1x\n", "version": "1"})
    assert broken.status_code == 422
    assert "rules: 1x" in broken.get_data(as_text=True)
    assert client.post("/routing/rules/activate", data={"text": NEW_RULES, "version": "0"}).status_code == 409
    assert made.services.rules.book.in_force().number == 1


def test_dry_run_without_studies_ends(made: Pages) -> None:
    """A dry run is started, shows its progress, and ends though there is nothing to ask about."""
    client = made.client()
    answer = client.post("/routing/rules/dry-runs", data={"text": NEW_RULES, "version": "1", "days": "7"})
    assert answer.status_code == 303
    assert "0 of 0 studies were asked about." in client.get(answer.location.removeprefix("/pacs")).get_data(
        as_text=True
    )
    made.services.rules.dry_runs._try(1, threading.Event())
    page = client.get(answer.location.removeprefix("/pacs")).get_data(as_text=True)
    assert "The new rules do the same as those in force." in page
    assert client.get("/routing/rules/dry-runs/99").status_code == 404


def test_tester_says_when_no_study_has_the_number(made: Pages) -> None:
    """An unknown number is told, an empty form asks nothing."""
    client = made.client()
    assert "No study has this number" in client.get("/routing/test?study=nope").get_data(as_text=True)
    assert "No study" not in client.get("/routing/test").get_data(as_text=True)


def test_tester_tries_an_appointment_by_what_its_order_says(made: Pages) -> None:
    """Rules ahead of appointments, of whatever time, are asked about the order, without a study."""
    rules = made.services.rules.book
    priors = """
  - name: Priors of {}
    on: {} before appointment
    if: {{PatientID: P-1, age_years: at least 18, order_station: CT1}}
    do: [{{prefetch: {{from: night-reader}}}}]
"""
    text = "rules:" + priors.format("tomorrow", "1 day") + priors.format("today", "2 hours")
    rules.activate(text, actor="person:test")
    coming = entry(ScheduledProcedureStepStartDate="29991231", AccessionNumber="A-7")
    over = entry(StepStatus.COMPLETED, AccessionNumber="A-8", StudyInstanceUID="2.25.8")
    enter(made.database, coming, over)
    client = made.client()
    page = client.get("/routing/test?study=A-7&event=appointment").get_data(as_text=True)
    assert "<strong>Priors of tomorrow, Priors of today</strong> →" in page
    assert "Journey of the study" not in page
    missing = "No appointment to come has this number"
    assert missing in client.get("/routing/test?study=A-8&event=appointment").get_data(as_text=True)
    assert missing in client.get("/routing/test?study=nope&event=appointment").get_data(as_text=True)


def test_targets_are_listed_and_tried(made: Pages) -> None:
    """Each target with its kind, proof, limits; one that is not there answers with a cure."""
    store_deliveries(made.database)
    client = made.client()
    page = client.get("/routing/targets").get_data(as_text=True)
    for words in ("DICOMweb", "by asking it", "20:00-07:00", "2.1 MB/s", "Connection refused"):
        assert words in page, words
    assert client.post("/routing/targets/nobody/test").status_code == 404


def test_only_outside_readers_are_among_the_readers(made: Pages) -> None:
    """Who is no reader, such as the teaching files, is not among them, nor shown when asked for."""
    store_deliveries(made.database)
    page = made.client().get("/routing/readers?target=teaching").get_data(as_text=True)
    assert "<option selected>night-reader</option><option>university</option>" in page
    assert "ORTIZ" not in page


def test_copy_is_told_of_and_removed(made: Pages) -> None:
    """The journey tells a copy with its values and who had it made; a person removes it, which is told, too."""
    study = store_deliveries(made.database)[0]
    with made.database.session(write=True) as session:
        session.add(
            CopyRecord(
                orthanc_study_id=study,
                study_instance_uid="1.2.3",
                copy_study_instance_uid="2.25.7",
                rule="Name of the clinic",
                actor="person:eva",
                changes={"InstitutionName": "Clinic North"},
                instances=1,
                began_at=datetime.now(UTC),
                made_at=datetime.now(UTC),
                undone_by="",
            )
        )
    client, address = made.client(), f"/routing/studies/{study}"
    page = client.get(address).get_data(as_text=True)
    for words in ("Copies with other values", "InstitutionName: Clinic North", "eva", "Remove the copy"):
        assert words in page, words
    made.archive.answers[f"/studies/{study}/series?expand"] = []
    made.archive.outcomes |= {"/tools/find": [], "/tools/lookup 2.25.7": []}
    answer = client.post("/routing/copies/1/undo", headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 303
    assert answer.headers["location"].endswith("undone=1")
    page = client.get(f"{address}?undone=1").get_data(as_text=True)
    assert "It is being removed." in page
    assert "Remove the copy" not in page
    with made.database.session(write=True) as session:
        session.get_one(CopyRecord, 1).made_at = None
    assert "by A person at this server" in client.get(address).get_data(as_text=True)


def test_outside_reader_shows_sent_confirmed_and_read(made: Pages) -> None:
    """A reader's studies with what is known of each."""
    store_deliveries(made.database)
    page = made.client().get("/routing/readers?target=university").get_data(as_text=True)
    for words in ("GÓMEZ", "Not reported back", "640 / 640"):
        assert words in page, words

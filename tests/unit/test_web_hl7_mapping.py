"""The mapping tester: what a pasted message would become, and why, without storing anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.hl7_orders import order as order_of
from fixtures.mllp import order
from fixtures.pages import Pages, pages
from pacs.hl7.journal import Search


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Return the pages with one sender that has a mapping of its own."""
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "his.yaml").write_text("extends: default\norder:\n  AccessionNumber: ORC-3\n")
    with pages(tmp_path, hl7={"Peers": {"HIS": {"Mapping": "his"}}}) as made:
        yield made


def tried(made: Pages, text: str, peer: str = "") -> str:
    """Return the answer to a pasted text."""
    answer = made.client().post("/hl7/mapping", data={"text": text, "peer": peer})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_data(as_text=True)


def test_order_is_shown_as_the_entry_that_it_would_become(made: Pages) -> None:
    """Attribute, value, place and rule; nothing is in the journal or the worklist afterwards."""
    text = tried(made, order("C1", accession="A1").decode("latin-1"))
    for words in (
        "It would be accepted (AA)",
        "Entered in the worklist",
        "Accession Number",
        "OBR-18",
        "default",
        "A1",
    ):
        assert words in text, words
    assert made.services.hl7.journal.find(Search()) == []
    with made.database.session() as session:
        assert made.services.worklist.page(session) == []


def test_mapping_of_the_chosen_sender_counts(made: Pages) -> None:
    """A sender's own row is used and named with its file and line."""
    text = tried(made, order_of(ORC_3="X77"), "HIS")
    assert "X77" in text
    assert "his.yaml, line 3" in text
    assert "X77" not in tried(made, order_of()).replace("F57", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (order_of(OBR_18="A-NUMBER-THAT-IS-TOO-LONG"), ("It would become a dead letter", "OBR-18", "at most 16")),
        (order_of(PID_3=""), ("It would not be accepted (AE)", "PID-3")),
        (order_of(ORC_1="QQ"), ("It would become a dead letter", "nobody said")),
        (order_of(ORC_1="RE"), ("Noted in the journal",)),
        (order_of(ORC_1="CA"), ("The entry is canceled",)),
        (order_of(ORC_1="HD"), ("The entry is put on hold",)),
        (order_of(ORC_1="RL"), ("The entry is no longer on hold",)),
        ("what is this", ("It would not be accepted (AR)", "without an MSH")),
        ("MSH|^~\\&|A|B|C|D|2026||ADT^A08|1|P|2.5\rPID|1||P1^^^H||A^B", ("Changes what the patient", "P1")),
        ("MSH|^~\\&|A|B|C|D|2026||ADT^A60|1|P|2.5\rPID|1||P1^^^H||A^B", ("would be kept in the journal",)),
        ("MSH|^~\\&|A|B|C|D|2026||XYZ^Z99|1|P|2.5\rPID|1||P1", ("It would not be accepted (AR)",)),
        ("\x0b" + order_of() + "\x1c\r", ("It would be accepted (AA)",)),
        (order_of().replace("\r", "\r\n"), ("It would be accepted (AA)",)),
    ],
    ids=[
        "long number",
        "no patient",
        "unknown code",
        "result",
        "cancel",
        "hold",
        "release",
        "no HL7",
        "patient",
        "kept",
        "unknown type",
        "framed",
        "CRLF",
    ],
)
def test_what_would_become_is_told(made: Pages, text: str, words: tuple[str, ...]) -> None:
    """Faults have their place; what would only be noted or kept is told as such."""
    answer = tried(made, text)
    for each in words:
        assert each in answer, each


def test_mistakes_of_mapping_files_are_told(made: Pages, tmp_path: Path) -> None:
    """A file with a mistake is named with its line; the former mapping stays in use."""
    tried(made, order_of(), "HIS")
    (tmp_path / "mappings" / "his.yaml").write_text("order:\n  AccessionNumbr: ORC-3\n")
    made.services.mapper.library._looked_at = None
    text = made.client().get("/hl7/mapping").get_data(as_text=True)
    assert "his.yaml, line 2" in text


def test_unknown_sender_is_refused(made: Pages) -> None:
    """A sender that is not configured has no mapping to try."""
    assert made.client().post("/hl7/mapping", data={"text": order_of(), "peer": "NOBODY"}).status_code == 404
    assert made.client().get("/hl7/mapping?message=999").status_code == 404

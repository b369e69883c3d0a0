"""The Upload page in a real browser: files, folders and ZIPs end in the archive, each with a result."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from pydicom.uid import generate_uid

from fixtures.browsers import chromium
from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.running_pacs import RunningPacs

# Files that exist only in the page, and a count of how many go while nothing else gets its turn.
MANY_FILES = """async (number) => {
  const own = document.querySelector("script[src*=upload_page]").src;
  const { UploadPanel } = await import(own.replace("upload_page", "upload_panel"));
  // Not a time: the same on a slow machine.
  let begun = 0, before = 0;
  window.longestRun = 0;
  const watch = () => {
    window.longestRun = Math.max(window.longestRun, begun - before);
    before = begun;
    setTimeout(watch, 10);
  };
  watch();
  async function* many() {
    for (let n = 0; n < number; n += 1) {
      const file = async () => { begun += 1; return new Blob(["text of no image"]); };
      yield { name: `f${n}`, file };
    }
  }
  new UploadPanel(document.querySelector("#upload-panel")).add(many());
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return one browser for the module."""
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser, pacs: RunningPacs) -> Iterator[Page]:
    """Return the Upload page in English, at a desk."""
    context = browser.new_context(base_url=pacs.url, locale="en-GB", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto("/pacs/upload")
    yield page
    context.close()
    assert not faults


def give(page: Page, files: dict[str, bytes]) -> None:
    """Hand files to the page's picker."""
    chosen = [
        {"name": name, "mimeType": "application/octet-stream", "buffer": content} for name, content in files.items()
    ]
    page.locator("#files").set_input_files(chosen)  # type: ignore[arg-type]


def results(page: Page) -> dict[str, str]:
    """Wait for the end and return each file's outcome."""
    expect(page.locator(".upload-progress")).to_be_hidden(timeout=30_000)
    rows = page.locator(".upload-results li").all()
    # Not the inner text: a browser that has not painted a row yet tells none.
    return {str(row.locator(".name").text_content()).strip(): str(row.get_attribute("data-outcome")) for row in rows}


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a ZIP of files."""
    written = BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


def test_upload_tells_the_result_of_every_file(page: Page, pacs: RunningPacs) -> None:
    """Good, repeated, cut, foreign and empty files each get their own words, and the good one is in the archive."""
    image = dicom_image(PatientName="SUBIDA^Una", PatientID="UP-1", StudyDescription="Upload one")
    good = as_file(image)
    files = {"good.dcm": good, "cut.dcm": good[: len(good) // 2], "note.txt": b"not an image", "empty.dcm": b""}
    give(page, files | {"DICOMDIR": b"\0" * 128 + b"DICM" + b"\0" * 100})
    assert results(page) == {
        "good.dcm": "stored",
        "cut.dcm": "damaged",
        "note.txt": "skipped",
        "empty.dcm": "skipped",
        "DICOMDIR": "skipped",
    }
    expect(page.locator(".upload-studies")).to_contain_text("SUBIDA, Una")
    assert pacs.archive.post_bytes("/tools/lookup", str(image.SOPInstanceUID).encode())
    give(page, {"again.dcm": good})
    expect(page.locator('.upload-results [data-outcome="present"]')).to_have_count(1)


def test_upload_opens_zips_in_the_browser(page: Page, pacs: RunningPacs) -> None:
    """The files of a ZIP are stored one by one; the ZIP itself and a ZIP within it are not sent."""
    study = generate_uid()
    images = [
        as_file(dicom_image(StudyInstanceUID=study, PatientID="UP-2", InstanceNumber=number)) for number in range(5)
    ]
    inner = zipped({"deep.dcm": images[0]})
    bodies: list[int] = []
    page.on("request", lambda request: request.method == "POST" and bodies.append(len(request.post_data_buffer or b"")))
    content = zipped({f"CD/IMG{number}": image for number, image in enumerate(images[:4])} | {"inner.zip": inner})
    give(page, {"cd.zip": content})
    outcomes = results(page)
    assert [outcomes[f"cd.zip/CD/IMG{number}"] for number in range(4)] == ["stored"] * 4
    assert outcomes["cd.zip/inner.zip"] == "refused"
    assert page.locator(".upload-results .why", has_text="ZIP inside a ZIP").count() == 1
    assert len(bodies) == 4
    found = pacs.archive.post_json("/tools/find", {"Level": "Instance", "Query": {"StudyInstanceUID": study}})
    assert len(found) == 4


def test_upload_stops_an_entry_that_unpacks_to_more_than_it_declares(page: Page) -> None:
    """A ZIP bomb costs its own entry only: it is cut off and refused, what stands beside it is stored."""
    image = as_file(dicom_image(PatientID="UP-3"))
    content = bytearray(zipped({"bomb.dcm": b"\0" * 128 + b"DICM" + b"\0" * 30_000_000, "good.dcm": image}))
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(signature) + at
        content[place : place + 4] = struct.pack("<I", 1000)
    give(page, {"bomb.zip": bytes(content)})
    outcomes = results(page)
    assert outcomes["bomb.zip/good.dcm"] == "stored"
    assert outcomes["bomb.zip/bomb.dcm"] == "refused"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped({"a.dcm": b"x" * 1000})[:-30], "The ZIP can't be read"),
        (b"PK\x03\x04" + b"\0" * 200, "The ZIP can't be read"),
    ],
    ids=["cut", "nonsense"],
)
def test_upload_tells_why_a_zip_can_not_be_read(page: Page, content: bytes, words: str) -> None:
    """A broken ZIP has a result in words."""
    give(page, {"broken.zip": content})
    assert results(page) == {"broken.zip": "damaged"}
    assert words in page.locator(".upload-results .why").inner_text()


def test_upload_retries_only_what_failed_on_the_way(page: Page) -> None:
    """A broken connection is a failure that the button repeats, and the second attempt stores the file."""
    page.route("**/instances", lambda route: route.abort())
    give(page, {"late.dcm": as_file(dicom_image(PatientID="UP-4")), "note.txt": b"text"})
    assert results(page) == {"late.dcm": "failed", "note.txt": "skipped"}
    page.unroute("**/instances")
    page.get_by_role("button", name="Try the failed again").click()
    expect(page.locator('.upload-results [data-outcome="stored"]')).to_have_count(1)
    expect(page.locator("#upload-title")).to_have_text("Everything is done")


def test_upload_shows_its_studies_when_asking_failed_at_its_end(page: Page) -> None:
    """They are asked for again, until all are shown."""
    failures = ["once", "twice"]

    def fail(route: Route) -> None:
        if failures:
            failures.pop()
            route.abort()
        else:
            route.continue_()

    page.route("**/*?ids=*", fail)
    give(page, {"late.dcm": as_file(dicom_image(PatientName="TARDE^Vista", PatientID="UP-LATE"))})
    expect(page.locator(".upload-studies")).to_contain_text("TARDE, Vista")
    assert failures == []


def test_upload_takes_a_folder_with_all_below_it(page: Page, tmp_path: Path) -> None:
    """Folders are walked through; results carry the path within."""
    below = tmp_path / "PATIENT" / "ST1"
    below.mkdir(parents=True)
    (below / "I1").write_bytes(as_file(dicom_image(PatientID="UP-5")))
    (tmp_path / "PATIENT" / "README.TXT").write_text("viewer")
    page.locator("#folder").set_input_files(tmp_path / "PATIENT")
    assert results(page) == {"PATIENT/ST1/I1": "stored", "PATIENT/README.TXT": "skipped"}


def test_upload_of_thousands_of_files_keeps_the_page_alive(page: Page) -> None:
    """3000 files go through while the page gets its turn again and again, and rows stay limited."""
    page.evaluate(MANY_FILES, 3000)
    expect(page.locator(".upload-count")).to_contain_text("3,000 of 3,000", timeout=60_000)
    assert page.locator(".upload-results li").count() <= 500
    assert 0 < page.evaluate("window.longestRun") < 500


def test_upload_can_be_cancelled(page: Page) -> None:
    """Cancel stops at once: what was not begun is not sent any more."""
    page.route("**/instances", lambda _: None)
    give(page, {f"{number}.dcm": as_file(dicom_image()) for number in range(20)})
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#upload-title")).to_have_text("Cancelled")
    assert page.locator(".upload-results li").count() < 20

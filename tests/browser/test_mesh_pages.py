"""3D as a person does it: choose, see at once, order, watch, turn, take away, save; at a desk and on a phone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from fixtures.browsers import GRAPHICS, chromium
from fixtures.mesh_archives import PATIENCE_SECONDS, ModelArchive, model_archive
from fixtures.page_checks import LOW_CONTRAST, NAMELESS, TOO_SMALL

DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
# Telling of the driver, no fault of the page.
_CHATTER = ("GPU stall", "GL Driver Message")
# How many pixels of the stage are neither transparent nor all alike: a model is drawn. A stage that rests has none to
# give: it is woken, as when somebody comes back to the page.
DRAWN = """() => {
  const stage = document.querySelector("#stage");
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [stage.width, stage.height];
  const context = copy.getContext("2d");
  document.dispatchEvent(new Event("visibilitychange"));
  return new Promise((resolve) => requestAnimationFrame(() => {
    context.drawImage(stage, 0, 0);
    const { data } = context.getImageData(0, 0, copy.width, copy.height);
    let drawn = 0;
    for (let at = 3; at < data.length; at += 4) drawn += data[at] > 200;
    resolve(drawn / (data.length / 4));
  }));
}"""

# Each preview takes a second more; it is noted what was asked for, and how many were asked for at once.
SLOW_PREVIEWS = """
  [window.wanted, window.atOnce, window.mostAtOnce] = [[], 0, 0];
  const ask = window.fetch;
  window.fetch = async (address, options) => {
    if (!String(address).includes("preview")) return ask(address, options);
    window.wanted.push(options.body);
    window.mostAtOnce = Math.max(window.mostAtOnce, ++window.atOnce);
    try {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      return await ask(address, options);
    } finally {
      window.atOnce--;
    }
  };
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelArchive]:
    """Return an archive with a warm previewer and a finished model."""
    with model_archive(tmp_path_factory.mktemp("models")) as started:
        started.done(started.order(formats=["stl", "obj", "glb"]))
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return one browser for the module, that draws."""
    with chromium(*GRAPHICS) as started:
        yield started


@contextmanager
def opened(
    browser: Browser, archive: ModelArchive, path: str, *, before: str = "", **options: object
) -> Iterator[Page]:
    """Open a page, running a script before its own; no script may fail and the content security policy not be hurt."""
    settings = {"locale": "en-GB", "viewport": DESK, "reduced_motion": "reduce"} | options
    context = browser.new_context(base_url=archive.pacs.url, **settings)  # type: ignore[arg-type]
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type in {"error", "warning"} else None)
    page.add_init_script(before)
    page.goto(path)
    yield page
    context.close()
    assert [fault for fault in faults if not any(words in fault for words in _CHATTER)] == []


def until(page: Page, script: str) -> object:
    """Wait until an expression is true in the page, and return it."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not (value := page.evaluate(script)):
        assert time.monotonic() < give_up_at, script
        time.sleep(0.1)
    return value


def previews(page: Page, count: int) -> None:
    """Wait until so many previews were shown."""
    until(page, f"Number(document.querySelector('#workbench').dataset.previews ?? 0) >= {count}")


def test_study_leads_to_the_workbench_and_the_workbench_to_a_model(browser: Browser, archive: ModelArchive) -> None:
    """From the series' card to a preview that is drawn, to an order, to the model with its figures and files."""
    study = archive.web.get(f"/series/{archive.series}").json()["ParentStudy"]
    with opened(browser, archive, f"/pacs/studies/by-orthanc-id/{study}") as page:
        page.get_by_role("link", name="3D model").first.click()
        page.wait_for_url(f"**/pacs/mesh/{archive.series}", timeout=PATIENCE_SECONDS * 1000)
        previews(page, 1)
        assert float(page.evaluate(DRAWN)) > 0.05
        assert int(page.evaluate("document.querySelector('#stage').dataset.triangles")) > 1000
        page.get_by_role("button", name="Make the model").click()
        page.wait_for_url("**/pacs/mesh/jobs/*", timeout=PATIENCE_SECONDS * 1000)
        until(page, "document.querySelector('.stage.large')?.dataset.shown")
        assert float(page.evaluate(DRAWN)) > 0.05
        expect(page.get_by_text("yes, it can be printed")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="STL").first.click()
        assert download.value.suggested_filename.startswith("bone_CT_")
        page.get_by_text("Save in the study").click()
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("It was saved in the study.")).to_be_visible(timeout=PATIENCE_SECONDS * 1000)


def test_preview_follows_threshold_tissues_and_box(browser: Browser, archive: ModelArchive) -> None:
    """Each choice gives another coarse model: fewer triangles above a higher threshold and in a box, more with skin."""
    triangles = "Number(document.querySelector('#stage').dataset.triangles)"
    with opened(browser, archive, f"/pacs/mesh/{archive.series}") as page:
        previews(page, 1)
        whole = page.evaluate(triangles)
        page.get_by_text("Only a part of the body").click()
        previews(page, 2)
        page.get_by_label("Feet", exact=True).fill("500")
        # Not counted: a histogram that comes late gives a preview more.
        until(page, f"{triangles} < {whole}")
        page.get_by_role("button", name="Another tissue").click()
        page.get_by_role("combobox", name="Tissue").last.select_option("skin")
        until(page, f"{triangles} > {whole} * 0.7")
        expect(page.get_by_role("button", name="Remove this tissue")).to_have_count(2)
        page.get_by_role("slider", name="From this value").first.fill("400")
        expect(page.get_by_role("combobox", name="Tissue").first).to_have_value("own")


def test_each_choice_is_previewed_and_timed(browser: Browser, archive: ModelArchive) -> None:
    """From the choice to the picture; the page says how long that took."""
    with opened(browser, archive, f"/pacs/mesh/{archive.series}") as page:
        previews(page, 1)
        for number in (2, 3):
            page.get_by_role("slider", name="From this value").fill(str(200 + 10 * number))
            previews(page, number)
            expect(page.locator("#stage-note")).to_have_text(re.compile(r"\d s$"))


def test_quick_choices_are_one_preview_at_a_time_and_the_last_is_shown(browser: Browser, archive: ModelArchive) -> None:
    """Who tries many thresholds takes nobody's turn, and sees the one chosen last."""
    with opened(browser, archive, f"/pacs/mesh/{archive.series}", before=SLOW_PREVIEWS) as page:
        previews(page, 1)
        for threshold in range(210, 260, 10):
            page.get_by_role("slider", name="From this value").fill(str(threshold))
            page.wait_for_timeout(300)
        until(page, "window.atOnce === 0 && window.wanted.at(-1).includes('250')")

        assert page.evaluate("window.mostAtOnce") == 1
        assert len(page.evaluate("window.wanted")) < 6


def test_model_turns_with_mouse_and_keyboard(browser: Browser, archive: ModelArchive) -> None:
    """What is seen changes with a drag and with an arrow key, and a view brings it back."""
    with opened(browser, archive, archive_job(archive)) as page:
        until(page, "document.querySelector('.stage')?.dataset.shown")
        stage = page.locator("#stage")
        page.get_by_role("button", name="Front").click()
        time.sleep(1.0)
        pictures = [stage.screenshot()]
        stage.focus()
        for _ in range(4):
            page.keyboard.press("ArrowUp")
        time.sleep(1.0)
        pictures.append(stage.screenshot())
        box = stage.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 300, box["y"] + 200)
        page.mouse.down()
        page.mouse.move(box["x"] + 420, box["y"] + 300, steps=5)
        page.mouse.up()
        time.sleep(1.0)
        pictures.append(stage.screenshot())
        assert len(set(pictures)) == 3


def archive_job(archive: ModelArchive) -> str:
    """Return the address of the finished model."""
    jobs = archive.web.get("/pacs/mesh").json()["jobs"]
    return str(next(job["self"] for job in jobs if job["state"] == "done"))


@pytest.mark.parametrize(
    ("viewport", "scheme"),
    [(DESK, "light"), (PHONE, "dark"), (PHONE, "light")],
    ids=["desk", "phone at night", "phone"],
)
def test_pages_can_be_read_and_reached(
    browser: Browser, archive: ModelArchive, viewport: dict[str, int], scheme: str
) -> None:
    """Nothing wider than the screen, every control named and large enough, every text with contrast."""
    for path in ("/pacs/mesh", f"/pacs/mesh/{archive.series}", archive_job(archive)):
        with opened(browser, archive, path, viewport=viewport, color_scheme=scheme) as page:
            if page.locator("#workbench").count():
                previews(page, 1)
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path
            assert page.evaluate(NAMELESS) == [], path
            assert page.evaluate(LOW_CONTRAST) == [], path
            if viewport is PHONE:
                assert page.evaluate(TOO_SMALL) == [], path


@pytest.mark.parametrize(
    ("language", "words"),
    [("es-PY", ["Nuevo modelo 3D", "Hueso", "Para imprimir"]), ("pt-BR", ["Novo modelo 3D", "Osso", "Para imprimir"])],
)
def test_workbench_speaks_ones_language(
    browser: Browser, archive: ModelArchive, language: str, words: list[str]
) -> None:
    """Also what the scripts say."""
    with opened(browser, archive, f"/pacs/mesh/{archive.series}", locale=language) as page:
        previews(page, 1)
        text = page.locator("main").inner_text()
        assert [word for word in words if word not in text] == []
        assert page.locator("#stage-note").inner_text().split()[0] in {"Vista", "Prévia"}

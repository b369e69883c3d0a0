"""The page of the backups and its metrics, on status files as runs leave them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fixtures.pages import Pages, pages
from pacs.backup.collector import BackupCollector
from pacs.backup.errors import Damage
from pacs.backup.overview import FORECAST_YEARS
from pacs.backup.runs import Runs
from pacs.backup.saving import introduce
from pacs.backup.settings import load
from pacs.backup.site import Site

GIGABYTE = 1000**3


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Give the pages; their backups' folder is tmp_path/backups, and nothing is in it."""
    with pages(tmp_path) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the backups' folder with two places, after a night in which the drill found damage."""
    state = tmp_path / "backups"
    runs = Runs(state)
    places = [
        {"name": "disk", "kind": "local", "append_only": False},
        {"name": "clinic", "kind": "rest", "append_only": True},
    ]
    (state / "site.json").write_text(json.dumps({"places": places, "schedule": {"files": 300, "nightly": 86_400}}))
    for place in ("disk", "clinic"):
        with runs.run("files", place) as run:
            run.facts |= {"stored_bytes": 500 * GIGABYTE, "free_bytes": 1000 * GIGABYTE if place == "disk" else None}
    with runs.run("nightly") as run:
        run.facts["attachment_bytes"] = 1000 * GIGABYTE
    with pytest.raises(Damage):
        find_damage(runs)
    return state


def find_damage(runs: Runs) -> None:
    """Have fixity find a broken file."""
    with runs.run("fixity") as run:
        run.facts |= {"broken": 1, "broken_files": [{"uuid": "u-u-i-d", "fault": "hash", "study": "1.2.3"}]}
        raise Damage("1 file is broken.")


def grow(state: Path, days: int, grown_bytes: int) -> None:
    """Have the archive grow: an earlier night in the history."""
    path = state / "status" / "nightly.json"
    told = json.loads(path.read_text())
    before = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    told["history"].insert(0, {"at": before, "attachment_bytes": 1000 * GIGABYTE - grown_bytes})
    path.write_text(json.dumps(told))


def test_page_says_that_there_is_no_backup_where_there_is_none(made: Pages) -> None:
    """A server without backups is told so, in words that make somebody act."""
    page = made.client("es").get("/backups").get_data(as_text=True)
    assert "Aún no hay copias" in page
    assert "un disco roto se lleva el archivo" in page


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["Damage found", "can't be erased from here", "500 GB", "Nothing was ever restored"]),
        ("es", ["Daño encontrado", "no se puede borrar desde aquí", "Nunca se ha restaurado nada"]),
        ("pt", ["Dano encontrado", "não pode ser apagado daqui", "Nada foi restaurado"]),
    ],
)
def test_page_shows_places_and_what_is_wrong_first(made: Pages, folder: Path, language: str, words: list[str]) -> None:
    """Places with sizes, the damage with the broken file and its study, and that nothing was restored yet."""
    assert folder.exists()
    page = made.client(language).get("/backups").get_data(as_text=True)
    assert [word for word in [*words, "u-u-i-d", "1.2.3", "disk", "clinic"] if word not in page] == []


def test_task_is_late_after_three_of_its_periods(made: Pages, folder: Path) -> None:
    """A place that no longer gets files is told, and counted for the alert."""
    path = folder / "status" / "files.clinic.json"
    told = json.loads(path.read_text())
    long_ago = (datetime.now(UTC) - timedelta(seconds=901)).isoformat()
    path.write_text(json.dumps(told | {"last_success": long_ago, "began": long_ago}))
    late = [task for task in made.services.backups.overview().bad if task.is_late]
    assert [(task.kind, task.place) for task in late] == [("files", "clinic")]
    values = {tuple(one.labels.values()): one.value for one in samples(made, "pacs_backup_late")}
    assert values["clinic", "files"] == 1
    assert values["disk", "files"] == 0


def test_what_was_never_done_is_late_and_counted_from_the_provisioning_on(made: Pages, tmp_path: Path) -> None:
    """A server that was set up and never made a backup says so, on the page and to Prometheus."""
    settings = tmp_path / "backup.yml"
    place = "{name: clinic, kind: rest, url: 'rest:https://clinic', append_only: true, write_only: true}"
    settings.write_text(f"state: {tmp_path}/backups\nplaces: [{place}]\n")
    site = Site.of(load(settings), tmp_path)
    introduce(site)
    path = tmp_path / "backups" / "site.json"
    assert not made.services.backups.overview().bad
    since = datetime.now(UTC) - timedelta(days=2)
    told = json.loads(path.read_text())
    told["since"] = told["places"][0]["since"] = since.isoformat()
    path.write_text(json.dumps(told))
    introduce(site)
    late = {(task.kind, task.place) for task in made.services.backups.overview().bad}
    assert late == {("files", ""), ("log", ""), ("fixity", ""), ("files", "clinic"), ("log", "clinic")}
    values = {tuple(one.labels.values()): one.value for one in samples(made, "pacs_backup_late")}
    assert (values["clinic", "files"], values["clinic", "database"]) == (1, 0)
    assert ("clinic", "check") not in values
    watched = {
        tuple(one.labels.values()): one.value for one in samples(made, "pacs_backup_watched_since_timestamp_seconds")
    }
    assert watched["", "drill"] == watched["clinic", "log"] == pytest.approx(since.timestamp(), abs=1)
    page = made.client().get("/backups").get_data(as_text=True)
    assert "Late" in page
    assert "Not yet" in page


def test_page_tells_to_which_moments_a_place_goes_back(made: Pages, folder: Path) -> None:
    """The kept copies as they were last seen, and what the log has added since; how long deleted images stay."""
    moments = "20260920T024000Z-20260930T023300Z_20261108T024000Z-20261122T023300Z"
    (folder / "points.disk.json").write_text(json.dumps(moments))
    with Runs(folder).run("log", "disk") as run:
        run.facts["moments"] = "20261108T024000Z-20261122T114500Z"
    site = json.loads((folder / "site.json").read_text())
    site["places"][0]["keeps_days"] = 35
    (folder / "site.json").write_text(json.dumps(site))
    place = made.services.backups.overview().places[0]
    assert [f"{until:%m-%d %H:%M}" for _, until in place.moments] == ["09-30 02:33", "11-22 11:45"]
    page = made.client("pt").get("/backups").get_data(as_text=True)
    assert "volta a qualquer segundo de" in page
    assert "há mais de 35 dias" in page


def test_forecast_goes_on_as_the_last_weeks(made: Pages, folder: Path) -> None:
    """36.525 GB in 36.525 days are 365.25 GB a year, half of that in a place that holds half; 1 TB lasts 5.5 years."""
    grow(folder, 30, 30 * GIGABYTE)
    forecast = made.services.backups.overview().forecast
    assert forecast is not None
    assert forecast.archive_bytes_a_year == pytest.approx(365.25 * GIGABYTE, rel=0.01)
    expected = [500 * GIGABYTE + years * 182.6 * GIGABYTE for years in FORECAST_YEARS]
    assert list(forecast.place_bytes["disk"]) == pytest.approx(expected, rel=0.01)
    assert forecast.full_in_years == {"disk": pytest.approx(5.48, rel=0.01)}
    assert "5 years" in made.client().get("/backups").get_data(as_text=True)


def test_drill_button_leaves_a_request_once(made: Pages, folder: Path) -> None:
    """The page asks for a drill in the person's language; a second request waits for the first."""
    (folder / "requests").mkdir()
    assert made.client("pt").post("/backups/drill").status_code == 303
    asked = json.loads((folder / "requests" / "drill.json").read_text())
    assert asked == {"language": "pt", "actor": "person:local"}
    assert made.client("pt").post("/backups/drill").status_code == 409
    assert "disabled" in made.client().get("/backups").get_data(as_text=True)


def test_report_is_given_and_nothing_else_of_the_folder(made: Pages, folder: Path) -> None:
    """Reports, signatures and the public key; no path leads out of their folder."""
    (folder / "reports").mkdir()
    name = "drill-20261122T114500-clinic.es.txt"
    (folder / "reports" / name).write_text("BIEN.")
    (folder / "reports" / "other.txt").write_text("secret")
    assert made.client().get(f"/backups/reports/{name}").get_data(as_text=True) == "BIEN."
    for wrong in ("other.txt", "..%2fsite.json", "../site.json", "drill-20261122T114501-clinic.es.txt"):
        assert made.client().get(f"/backups/reports/{wrong}").status_code == 404


def test_metrics_tell_what_alerts_need(made: Pages, folder: Path) -> None:
    """Last success by place and kind, outcomes, broken files; nothing at all where there are no backups."""
    assert folder.exists()
    last = {
        tuple(one.labels.values()): one.value for one in samples(made, "pacs_backup_last_success_timestamp_seconds")
    }
    assert last["clinic", "files"] == pytest.approx(datetime.now(UTC).timestamp(), abs=60)
    assert [one.value for one in samples(made, "pacs_backup_broken_files")] == [1]
    outcomes = {tuple(one.labels.values()): one.value for one in samples(made, "pacs_backup_outcome")}
    assert (outcomes["", "fixity", "damage"], outcomes["", "fixity", "done"]) == (1, 0)


def test_task_that_failed_counts_as_failed_while_it_is_tried_again(made: Pages, folder: Path) -> None:
    """The log is sent each quarter of a minute: an alert that waits must not begin anew with each attempt."""
    runs = Runs(folder)
    with pytest.raises(Damage):
        find_damage(runs)
    with runs.run("fixity"):
        outcomes = {tuple(one.labels.values()): one.value for one in samples(made, "pacs_backup_outcome")}
    assert (outcomes["", "fixity", "damage"], outcomes["", "fixity", "running"]) == (1, 1)
    outcomes = {tuple(one.labels.values()): one.value for one in samples(made, "pacs_backup_outcome")}
    assert (outcomes["", "fixity", "damage"], outcomes["", "fixity", "done"]) == (0, 1)


def samples(made: Pages, name: str) -> list[object]:
    """Return the samples of a metric."""
    families = BackupCollector(made.services.backups).collect()
    return [one for family in families if family.name == name for one in family.samples]

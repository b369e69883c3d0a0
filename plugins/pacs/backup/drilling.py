"""The command `drill`: the drill, its report, and what the page shows of it."""

from __future__ import annotations

import json
from pathlib import Path

from pacs.backup import drill, report
from pacs.backup.overview import DRILLS, REQUEST
from pacs.backup.runs import replace
from pacs.backup.site import Site


def run(site: Site, place_name: str, language: str) -> str:
    """Drill, write the signed report, and raise Damage when the backup is not good."""
    with site.runs.lock("drill"), site.place(place_name) as place, site.runs.run("drill") as run_:
        language, actor = _requested(site, language)
        place.require_reachable()
        result = drill.Drill(site.settings, place).run()
        path = report.write(result, site.settings.state, site.settings.signing_key, language)
        run_.facts |= {
            "at_place": place.name, "report": path.name, "good": result.is_good, "point": result.point, "actor": actor,
            "files": result.checked_files, "bytes": result.checked_bytes, "missing": result.missing_count,
            "wrong": result.wrong_count, "orphans": result.orphan_count, "studies": result.studies_opened,
            "steps": result.steps,
        }  # fmt: skip
        _remember(site, result, path)
        drill.require_good(result)
        run_.sentence = (
            f"{result.checked_files} files and {result.studies_opened} studies of {place.name} are whole: {path.name}"
        )
        return run_.sentence


def _requested(site: Site, language: str) -> tuple[str, str]:
    """Take the page's request, if there is one, and return the language and who asked."""
    path = site.settings.state / REQUEST
    try:
        text = path.read_text(encoding="utf-8")
        path.unlink()  # whatever stands in it: the unit is started as long as it is there
        asked = json.loads(text)
    except (OSError, ValueError):
        return language, "timer"
    chosen = str(asked.get("language", language))
    return (chosen if chosen in report.LANGUAGES else language), str(asked.get("actor", ""))


def _remember(site: Site, result: drill.DrillResult, path: Path) -> None:
    """Keep the last drills for the page."""
    drills = site.settings.state / DRILLS
    former = json.loads(drills.read_text(encoding="utf-8")) if drills.exists() else []
    one = {
        "began": result.began, "place": result.place, "good": result.is_good, "report": path.name,
        "point": result.point,
        "files": result.checked_files, "bytes": result.checked_bytes, "missing": result.missing_count,
        "wrong": result.wrong_count, "orphans": result.orphan_count, "studies": result.studies_opened,
        "seconds": round(sum(result.steps.values()), 1),
    }  # fmt: skip
    replace(drills, json.dumps([one, *former][:36], ensure_ascii=False, indent=1))

"""The commands and their options."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pacs.backup import consistency, drilling, escrow, export, fixity, repair, report, restore_commands, saving, status
from pacs.backup.errors import Damage
from pacs.backup.site import Site
from pacs.processes.scratch import Scratch

type Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse gives it no other name


def add_commands(commands: Subparsers) -> None:
    """Add every command to a parser."""
    _add(commands, "files", "pack what is new and send it to every place", lambda site, _: saving.files(site))
    _add(commands, "nightly", "compare the whole index, and send it all", lambda site, _: saving.nightly(site))
    database = _add(commands, "database", "back up PostgreSQL (as its user)", _database)
    database.add_argument("how", choices=["full", "incr"])
    database.add_argument("--only", choices=["save", "send"], help="as PostgreSQL's user, or as the backup's")
    _add(commands, "ship", "send PostgreSQL's log", lambda site, _: saving.ship(site))
    check = _add(commands, "check", "check every repository", lambda site, options: saving.check(site, options.read))
    check.add_argument("--read", default="", help="how much of the data is read: 10%%, 100%%, 3/12")
    _add(commands, "prune", "let go what retention does not keep", lambda site, _: saving.prune(site))
    _add(commands, "points", "tell to which moments each place goes back", lambda site, _: saving.points(site))
    aside = _add(commands, "consistency", "compare Orthanc's index with its files", _consistency)
    aside.add_argument("--quarantine", action="store_true", help="move orphans aside")
    whole = _add(commands, "fixity", "read the files that are due and compare their hashes", _fixity)
    whole.add_argument("--all", action="store_true", help="read every file now")
    mend = _add(
        commands, "repair", "put a file back from a backup", lambda site, one: repair.repair(site, one.uuid, one.place)
    )
    mend.add_argument("uuid")
    mend.add_argument("--place", default="", help="from this place; the first otherwise")
    trial = _add(commands, "drill", "restore everything into a scratch place and prove it", _drill)
    trial.add_argument("--place", default="", help="from this place; the first otherwise")
    trial.add_argument("--language", choices=report.LANGUAGES, default="es")
    back = _add(commands, "restore", "tell what a restore will do, or do it", restore_commands.restore)
    restore_commands.add_options(back)
    year = _add(commands, "export", "write the studies of a year on media that anybody can read", _export)
    year.add_argument("year", type=int)
    year.add_argument("target", type=Path, help="a new folder, or FILE.iso")
    year.add_argument("--volume-bytes", type=int, default=export.VOLUME_BYTES)
    _add(commands, "clean", "remove what a killed drill left", lambda site, _: _clean(site))
    prepare = _add(commands, "prepare", "mark a new disk as a place", _prepare)
    prepare.add_argument("place")
    key = _add(commands, "offline-key", "make the key that the escrow is encrypted to", _offline_key)
    key.add_argument("key", type=Path, help="carry it away at once")
    seal = _add(commands, "escrow", "write what is needed to begin anew, encrypted to the offline key", _escrow)
    seal.add_argument("file", type=Path)
    _add(commands, "status", "print all there is to know, as JSON", lambda site, _: _status(site))


def _add(commands: Subparsers, name: str, text: str, work: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(work=work)
    return parser


def _database(site: Site, options: argparse.Namespace) -> str:
    return saving.database(site, full=options.how == "full", only=options.only)


def _consistency(site: Site, options: argparse.Namespace) -> str:
    with site.runs.run("consistency") as run:
        with site.index() as index:
            finding = consistency.compare(index, site.storage)
        if options.quarantine:
            consistency.quarantine(finding, site.storage)
            site.runs.audit("quarantine", files=len(finding.quarantined))
        run.facts |= {
            "attachments": finding.attachments,
            "missing": sum(map(len, finding.missing.values())),
            "other_size": sum(map(len, finding.truncated.values())),
            "orphans": len(finding.orphans),
            "orphan_bytes": finding.orphan_bytes,
        }
        text = "\n".join(finding.lines())
        if not finding.is_clean:
            raise Damage(text)
        run.sentence = f"Every file that the index names is there; {len(finding.orphans)} orphans."
        return text


def _fixity(site: Site, options: argparse.Namespace) -> str:
    return fixity.run(site, everything=options.all)


def _drill(site: Site, options: argparse.Namespace) -> str:
    return drilling.run(site, options.place, options.language)


def _export(site: Site, options: argparse.Namespace) -> str:
    return export.run(site, options.year, options.target, options.volume_bytes)


def _clean(site: Site) -> str:
    Scratch(site.settings.work / "scratch").close()
    return "No scratch is left."


def _prepare(site: Site, options: argparse.Namespace) -> str:
    with site.place(options.place) as place:
        place.prepare(site.settings.work)
        place.require_reachable()
        saving.begin_anew_where_empty(site, place)
    return f"{options.place} is prepared."


def _offline_key(site: Site, options: argparse.Namespace) -> str:
    certificate = site.settings.escrow.recipient
    escrow.new_key(options.key, certificate)
    site.runs.audit("offline key made", certificate=str(certificate))
    return (
        f"{certificate} stays here. Carry {options.key} away on paper and two media, then remove it from this server."
    )


def _escrow(site: Site, options: argparse.Namespace) -> str:
    escrow.seal(site.settings, options.file)
    site.runs.audit("escrow written", file=str(options.file))
    return f"{options.file} holds what is needed to begin anew. The offline key alone opens it."


def _status(site: Site) -> str:
    return json.dumps(status.read(site.settings.state), indent=1, ensure_ascii=False)

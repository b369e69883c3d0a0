"""`restore WHAT --plan | --do`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from pacs.backup import restoring, restoring_lost, restoring_studies
from pacs.backup.errors import BackupError
from pacs.backup.plans import Plan
from pacs.backup.restoring import DatabaseRestore
from pacs.backup.restoring_files import FilesRestore
from pacs.backup.restoring_folders import FoldersRestore
from pacs.backup.restoring_studies import StudiesRestore
from pacs.backup.site import Site


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what there is to restore, each with its options."""
    whats = parser.add_subparsers(required=True, metavar="WHAT", dest="what")
    common = argparse.ArgumentParser(add_help=False)
    act = common.add_mutually_exclusive_group(required=True)
    act.add_argument("--plan", action="store_true", help="tell what it will do and what will be lost")
    act.add_argument("--do", action="store_true", help="tell, and do it")
    common.add_argument("--place", default="", help="from this place; files: from this one first")
    common.add_argument("--to", default="", help="a moment with its time zone, or the LSN of a restore point")
    common.add_argument("--key", type=Path, help="the offline key")
    for name, text, more in (
        ("database", "PostgreSQL to a moment", None),
        ("files", "files that the index names and the storage area lacks", None),
        ("orphans", "store again what came after a restored moment", None),
        ("lost", "images that no backup has: listed, and sent again they are stored", None),
        ("study", "one study", "StudyInstanceUID"),
        ("patient", "one patient", "PatientID"),
        ("folders", "rules, targets and reports that are missing", None),
        ("configuration", "what is in the escrow", None),
        ("server", "folders, database and files on a new machine", None),
    ):
        one = whats.add_parser(name, help=text, description=text, parents=[common])
        one.set_defaults(restore=_RESTORES[name])
        if more:
            one.add_argument("identifier", metavar=more)
        if name == "lost":
            one.add_argument("--without", action="append", default=[], help="do not ask this place: it is gone")
        if name == "configuration":
            one.add_argument("--into", type=Path, required=True, help="folder; / puts all where it was")


def restore(site: Site, options: argparse.Namespace) -> str:
    """Tell the plan, and do it if asked to."""
    work: Callable[[Site, argparse.Namespace, ExitStack], tuple[Plan, Callable[[], str]]] = options.restore
    with ExitStack() as stack:
        plan, do = work(site, options, stack)
        if options.plan:
            return plan.text()
        site.runs.audit("restore begun", what=options.what, to=options.to, place=options.place)
        return f"{plan.text()}\n\n{do()}"


type _Work = tuple[Plan, Callable[[], str]]


def _database(site: Site, options: argparse.Namespace, stack: ExitStack) -> _Work:
    place = stack.enter_context(site.place(options.place)) if options.place else None
    work = DatabaseRestore(site, options.to, place)
    return work.plan(), work.do


def _files(site: Site, options: argparse.Namespace, stack: ExitStack) -> _Work:
    work = FilesRestore(site, stack.enter_context(site.places_from(options.place)))
    return work.plan(), work.do


def _orphans(site: Site, _: argparse.Namespace, stack: ExitStack) -> _Work:
    del stack
    plan, paths = restoring.orphans_plan(site)
    return plan, lambda: restoring_studies.store_orphans(site, paths)


def _lost(site: Site, options: argparse.Namespace, stack: ExitStack) -> _Work:
    places = stack.enter_context(site.places_from(options.place))
    lost = restoring_lost.find(site, [one for one in places if one.name not in options.without])
    return restoring_lost.plan(site, lost), lambda: restoring_lost.forget(site, lost)


def _studies(site: Site, options: argparse.Namespace, stack: ExitStack) -> _Work:
    named = {options.what: options.identifier}
    work = StudiesRestore(site, stack.enter_context(site.place(options.place)), to=options.to, **named)
    chosen = stack.enter_context(work.chosen())
    return work.plan(chosen), lambda: work.do(chosen)


def _folders(site: Site, options: argparse.Namespace, stack: ExitStack) -> _Work:
    work = FoldersRestore(site, stack.enter_context(site.place(options.place)))
    return work.plan(), work.do


def _configuration(site: Site, options: argparse.Namespace, stack: ExitStack) -> _Work:
    place = stack.enter_context(site.place(options.place))
    key = _key(options)
    return (
        restoring.configuration_plan(place, options.into),
        lambda: restoring.restore_configuration(site, place, key, options.into),
    )


def _server(site: Site, options: argparse.Namespace, stack: ExitStack) -> _Work:
    """Folders and database first, so that the list of studies is there in seconds; files follow, newest first."""
    places = stack.enter_context(site.places_from(options.place))
    place, *others = places
    rules = FoldersRestore(site, place)
    first, then = DatabaseRestore(site, options.to, place), FilesRestore(site, places)
    plan = first.plan()
    steps = [*rules.plan().steps, *plan.steps, f"fetch every file that the index names from {place.name}, newest first"]
    steps += [f"look for what it lacks at {', then at '.join(one.name for one in others)}"] if others else []
    losses = [
        *rules.plan().losses,
        *plan.losses,
        f"what was not yet at {place.name} when the server was lost: of the database about a minute, of images five",
        "rules, targets and reports of the day: they are saved nightly",
        "names of images whose file did not get there: `restore lost` lists them, for the modalities to send again",
    ]
    whole = Plan("A whole server out of a backup place", steps, losses, plan.kept)
    return whole, lambda: f"{rules.do()} {first.do()} {then.do()}"


def _key(options: argparse.Namespace) -> Path:
    if options.key is None:
        raise BackupError("The escrow opens with the offline key alone.", remedy="Name it: --key FILE.")
    return Path(options.key)


_RESTORES = {
    "database": _database,
    "files": _files,
    "orphans": _orphans,
    "lost": _lost,
    "study": _studies,
    "patient": _studies,
    "folders": _folders,
    "configuration": _configuration,
    "server": _server,
}

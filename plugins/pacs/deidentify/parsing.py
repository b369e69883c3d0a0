"""What stands in deidentify.yaml and the files that it names, read into projects with all faults at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_dict

from pacs.deidentify.errors import ProjectsError
from pacs.deidentify.masks import CONDITIONS, Mask, Rectangle
from pacs.deidentify.options import Clean, Retain
from pacs.deidentify.project import LEAST_SHIFT_DAYS, MOST_SHIFT_DAYS, Project
from pacs.settings_files.faults import Faults, Place, did_you_mean
from pacs.settings_files.marked_yaml import Node, read_marked

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
_PREFIX = re.compile(r"[A-Za-z0-9_-]{0,24}")
_ELEMENT = re.compile(r"([0-9A-Fa-f]{4}),?xx([0-9A-Fa-f]{2})")
_SETTABLE_VRS = frozenset({"CS", "LO", "SH", "ST", "LT", "UT", "UC"})
_RECTANGLE_NUMBERS = 4
_OLDEST_YEARS = 150

# Gives the text of a file by its name. Raises OSError and UnicodeDecodeError.
type ReadText = Callable[[str], str]
type Reader = Callable[["_Reading", Node], Any]


def parse_projects(file: str, read_text: ReadText) -> dict[str, Project]:
    """Return the projects of a file.

    Parameters
    ----------
    read_text : gives the file and those that it names, which stand beside it.

    Raises
    ------
    ProjectsError : with every fault of all of them.
    """
    faults = Faults()
    root = _read(file, read_text, faults)
    found: dict[str, Project] = {}
    if root is not None:
        for name, node in _section(root, faults).items():
            if not _NAME.fullmatch(name):
                node.fault(f'"{name}" is no name of a project: letters, digits, "-", "_" and ".", at most 40.')
            project = _Reading(name, read_text, faults).project(node)
            if project is not None:
                found[name] = project
    faults.raise_if_any(ProjectsError)
    return found


def _read(name: str, read_text: ReadText, faults: Faults) -> Node | None:
    try:
        text = read_text(name)
    except (OSError, UnicodeDecodeError) as error:
        faults.add(Place(name, 1), f"can't be read as UTF-8 text: {type(error).__name__}; put the file there.")
        return None
    return read_marked(text, name, faults, when_empty="write `projects:` and the projects under it")


def _section(root: Node, faults: Faults) -> dict[str, Node]:
    entries = root.entries("`projects:`")
    _refuse_unknown(entries, ("projects",))
    if "projects" in entries:
        return entries["projects"].entries("projects by name")
    if root.is_mapping and not entries.keys() - {"projects"}:
        faults.add(root.place, "expected `projects:`, found nothing.")
    return {}


def _refuse_unknown(entries: Mapping[str, Node], known: Collection[str]) -> None:
    for key, node in entries.items():
        if key not in known:
            node.fault(f'unknown key "{key}"; {did_you_mean(key, known)}')


class _Reading:
    """Reads one project."""

    def __init__(self, name: str, read_text: ReadText, faults: Faults) -> None:
        self._name = name
        self._read_text = read_text
        self._faults = faults

    def project(self, node: Node) -> Project | None:
        """Return it, or None with its faults noted."""
        entries = node.entries("the settings of a project")
        _refuse_unknown(entries, _READERS)
        values = {field: read(self, entries[key]) for key, (field, read) in _READERS.items() if key in entries}
        values.pop("", None)
        if "secret" not in entries:
            node.fault("a project needs `secret: ${NAME}`, the name of the credential that holds its secret.")
        self._compare(values, entries, node)
        if "secret_name" not in values or None in values.values():
            return None
        return Project(name=self._name, **values)

    def _compare(self, values: Mapping[str, Any], entries: Mapping[str, Node], node: Node) -> None:
        retain, clean = values.get("retain") or frozenset(), values.get("clean") or frozenset()
        if {Retain.FULL_DATES, Retain.MODIFIED_DATES} <= retain:
            entries["retain"].fault('"full dates" and "modified dates" exclude each other; remove one.')
        if "masks" in entries and Clean.PIXELS not in clean:
            entries["masks"].fault("masks are laid with `clean: [pixel data]` only; add it.")
        if "keep_private" in entries and Retain.SAFE_PRIVATE not in retain:
            entries["keep_private"].fault("private elements stay with `retain: [safe private]` only; add it.")
        if "shift_days" in entries and Retain.MODIFIED_DATES not in retain:
            entries["shift_days"].fault("dates move with `retain: [modified dates]` only; add it.")
        if not node.is_mapping:
            return

    def secret(self, node: Node) -> str | None:
        """Read the name of a secret, which itself must not stand in the file."""
        text = node.text("`${NAME}`")
        found = _SECRET.fullmatch(text or "")
        if text is not None and not found:
            # What was found may be the secret itself: it is not repeated.
            node.fault(
                "expected `${NAME}`, the name of a credential or an environment variable, not the secret itself."
            )
        return found[1] if found else None

    def retain(self, node: Node) -> frozenset[Retain]:
        """Read the retain options."""
        return frozenset(Retain(word) for word in self._words(node, [one.value for one in Retain]))

    def clean(self, node: Node) -> frozenset[Clean]:
        """Read the clean options."""
        return frozenset(Clean(word) for word in self._words(node, [one.value for one in Clean]))

    def _words(self, node: Node, known: Collection[str]) -> list[str]:
        found = []
        for word in node.texts(f"one or more of: {', '.join(known)}"):
            if word.text in known:
                found.append(word.text)
            else:
                node.fault_at(word.place, f'unknown "{word.text}"; {did_you_mean(word.text, known)}')
        return found

    def text(self, node: Node) -> str:
        """Read a text."""
        return node.text("a text") or ""

    def prefix(self, node: Node) -> str:
        """Read what stands before pseudonyms."""
        text = node.text("letters and digits, such as LUNG-") or ""
        if not _PREFIX.fullmatch(text):
            node.fault(f'"{text}" can\'t stand before pseudonyms: letters, digits, "-" and "_", at most 24.')
        return text

    def days(self, node: Node) -> int | None:
        """Read how far dates may move."""
        return self._number(node, LEAST_SHIFT_DAYS, MOST_SHIFT_DAYS, "days")

    def years(self, node: Node) -> int | None:
        """Read the oldest age that stays."""
        return self._number(node, 1, _OLDEST_YEARS, "years")

    def _number(self, node: Node, least: int, most: int, unit: str) -> int | None:
        text = node.text(f"a number of {unit}")
        if text is not None and text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        if text is not None:
            node.fault(f'expected {least} to {most} {unit}, found "{text}".')
        return None

    def own_words(self, node: Node) -> tuple[str, ...]:
        """Read words that may stay in descriptions."""
        return tuple(word.text for word in node.texts("words that may stay in descriptions"))

    def settings(self, node: Node) -> dict[str, str]:
        """Read values that every instance is given."""
        found = {}
        for keyword, value in node.entries("attributes and their values").items():
            tag = keyword_dict.get(keyword)
            if tag is None:
                value.fault(f'"{keyword}" is no attribute of DICOM; {did_you_mean(keyword, keyword_dict)}')
            elif dictionary_VR(tag) not in _SETTABLE_VRS or keyword == "PatientID":
                value.fault(f"{keyword} can't be set; texts such as ClinicalTrialProtocolID can.")
            else:
                found[keyword] = value.text("a text") or ""
        return found

    def private(self, node: Node) -> dict[tuple[str, int], frozenset[int]]:
        """Read private elements that stay: `SIEMENS MR HEADER: [0019xx0C]`."""
        found: dict[tuple[str, int], frozenset[int]] = {}
        for creator, elements in node.entries("elements by private creator").items():
            for element in elements.texts("elements such as 0019xx0C"):
                parts = _ELEMENT.fullmatch(element.text)
                if not parts or not int(parts[1], 16) & 1:
                    node.fault_at(element.place, f'"{element.text}" is no private element; write for example 0019xx0C.')
                    continue
                block = (creator, int(parts[1], 16))
                found[block] = found.get(block, frozenset()) | {int(parts[2], 16)}
        return found

    def masks(self, node: Node) -> tuple[Mask, ...]:
        """Read the file of masks."""
        name = node.text("the name of a file of masks beside this one")
        if name is None:
            return ()
        if Path(name).name != name:
            node.fault(f'"{name}" is a path; a file of masks stands beside this one.')
            return ()
        root = _read(name, self._read_text, self._faults)
        if root is None:
            return ()
        entries = root.entries("masks by name")
        masks = [_mask(name, mask) for name, mask in entries.items()]
        return tuple(mask for mask in masks if mask is not None)


def _choice(*words: str) -> Reader:
    def read(_reading: _Reading, node: Node) -> str | None:
        text = node.text(f"one of {', '.join(words)}")
        if text is not None and text not in words:
            node.fault(f'"{text}" is none of: {", ".join(words)}; {did_you_mean(text, words)}')
        return text if text in words else None

    return read


def _mask(name: str, node: Node) -> Mask | None:
    entries = node.entries("`when:` and `blank:`")
    _refuse_unknown(entries, ("when", "blank"))
    missing = {"when", "blank"} - entries.keys()
    if missing:
        node.fault(f'the mask "{name}" needs {" and ".join(f"`{key}:`" for key in sorted(missing, reverse=True))}.')
        return None
    when = {key: value.text("a pattern") or "" for key, value in entries["when"].entries("conditions").items()}
    _refuse_unknown(entries["when"].entries("conditions"), CONDITIONS)
    if entries["when"].is_mapping and not {"Rows", "Columns"} <= when.keys():
        entries["when"].fault("a mask needs Rows and Columns: rectangles mean nothing in an image of another size.")
    return Mask(name, when, _rectangles(entries["blank"]))


def _rectangles(node: Node) -> tuple[Rectangle, ...]:
    if node.is_text and node.text("rectangles") == "nothing":
        return ()
    found = []
    for text in node.texts("`nothing`, or rectangles such as `0 0 512 40` (left, top, width, height)"):
        numbers = text.text.replace(",", " ").split()
        if len(numbers) != _RECTANGLE_NUMBERS or not all(one.isascii() and one.isdigit() for one in numbers):
            node.fault_at(text.place, f'"{text.text}" is no rectangle; write left, top, width, height: 0 0 512 40.')
            continue
        left, top, width, height = map(int, numbers)
        if not width or not height:
            node.fault_at(text.place, "a rectangle of no width or height blanks nothing.")
        found.append(Rectangle(left, top, left + width, top + height))
    if not found:
        node.fault("expected rectangles, found none; write `blank: nothing` for a device that burns nothing in.")
    return tuple(found)


# The keys of a project: which field of it they fill, and what reads them.
_READERS: dict[str, tuple[str, Reader]] = {
    "description": ("", _Reading.text),
    "secret": ("secret_name", _Reading.secret),
    "retain": ("retain", _Reading.retain),
    "clean": ("clean", _Reading.clean),
    "pseudonym_prefix": ("pseudonym_prefix", _Reading.prefix),
    "issuer": ("issuer", _Reading.text),
    "without_patient_id": ("without_patient_id", _choice("refuse", "study")),
    "shift_days": ("shift_days", _Reading.days),
    "oldest_age_years": ("oldest_age_years", _Reading.years),
    "words": ("own_words", _Reading.own_words),
    "masks": ("masks", _Reading.masks),
    "unmasked": ("unmasked", _choice("refuse", "declared")),
    "keep_private": ("private_elements", _Reading.private),
    "documents": ("documents", _choice("refuse", "replace")),
    "faces": ("faces", _choice("refuse", "accept")),
    "private_classes": (
        "private_classes",
        lambda reading, node: _choice("refuse", "accept")(reading, node) == "accept",
    ),
    "set": ("settings", _Reading.settings),
}

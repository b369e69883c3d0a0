"""What a rule has done with a study: deliveries, and everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from pacs.routing.orders import ROUTINE, STAT, URGENT, Transfer
from pacs.routing.rules.known import Known
from pacs.settings_files.faults import did_you_mean
from pacs.settings_files.marked_yaml import Node

URGENCIES = {"routine": ROUTINE, "urgent": URGENT, "stat": STAT}
SYNTAXES: dict[str, UID | None] = {
    "as stored": None,
    "uncompressed": ExplicitVRLittleEndian,
    "JPEG 2000 lossless": JPEG2000Lossless,
    "JPEG-LS lossless": JPEGLSLossless,
    "RLE": RLELossless,
    "JPEG lossy": JPEGBaseline8Bit,
}
_LOSSY = "JPEG lossy"
_DEFAULT_QUALITY = 85
_LONGEST_TEMPLATE = 20_000
_LONGEST_LABEL = 64
# Changing these would make another patient or study of it, or images that contradict themselves.
_NEVER_SET = frozenset(
    """PatientID PatientName PatientBirthDate PatientSex IssuerOfPatientID StudyInstanceUID SeriesInstanceUID
    SOPInstanceUID SOPClassUID TransferSyntaxUID PixelData Rows Columns""".split()  # noqa: SIM905 (words read better)
)


@dataclass(frozen=True)
class Send:
    """A delivery. `targets`: each of them gets it; `instead`: who gets it while one of them is down."""

    targets: tuple[str, ...]
    instead: tuple[str, ...] = ()
    urgency: int = ROUTINE
    transfer: Transfer = field(default_factory=Transfer)
    deidentify: str | None = None
    changes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """Anything else: its kind and what it needs to know, as JSON."""

    kind: str
    parameters: Mapping[str, Any]


type Doing = Send | Task


@dataclass(frozen=True)
class _Reading:
    """One line under `do:`: the value of its kind, its options, and what may be named."""

    node: Node
    options: Mapping[str, Node]
    known: Known


_SEND_OPTIONS = ("instead", "urgency", "as", "quality", "deidentify", "change")


def parse_doing(node: Node, known: Known) -> Doing | None:
    """Return what an item under `do:` asks for; None notes its faults."""
    entries = node.entries("something to do, such as `send: TARGET`")
    kinds = [kind for kind in _PARSERS if kind in entries]
    if len(kinds) != 1:
        if entries:
            found = next(iter(entries))
            node.fault(
                f"expected one thing to do a line, each after a dash, found {', '.join(kinds)}."
                if kinds
                else f'"{found}" is nothing that can be done; {did_you_mean(found, _PARSERS)}'
            )
        return None
    kind = kinds[0]
    options = {key: value for key, value in entries.items() if key != kind}
    parse, allowed = _PARSERS[kind]
    for key in options.keys() - set(allowed):
        options[key].fault(f'`{kind}` knows no "{key}"; {did_you_mean(key, allowed) or "remove it."}')
    return parse(_Reading(entries[kind], options, known))


def _send(reading: _Reading) -> Send | None:
    targets = _names(reading.node, reading.known.targets(), "target", "targets.yaml")
    options = reading.options
    instead = (
        _names(options["instead"], reading.known.targets(), "target", "targets.yaml") if "instead" in options else ()
    )
    for name in set(instead) & set(targets):
        options["instead"].fault(f'"{name}" can\'t stand in for itself; name another target.')
    project = _text(options.get("deidentify"), "a project of deidentify.yaml")
    if project is not None:
        _check(options["deidentify"], project, reading.known.projects(), "project", "deidentify.yaml")
    transfer = _transfer(options)
    urgency = _chosen(options.get("urgency"), URGENCIES, ROUTINE)
    changes = _attributes(options["change"]) if "change" in options else {}
    return Send(targets, instead, urgency, transfer, project, changes) if targets else None


def _transfer(options: Mapping[str, Node]) -> Transfer:
    syntax = _chosen(options.get("as"), SYNTAXES, None)
    quality = _quality(options.get("quality"))
    is_lossy = syntax == SYNTAXES[_LOSSY]
    if quality is not None and not is_lossy:
        options["quality"].fault(f"`quality` is for `as: {_LOSSY}` alone; the others lose nothing.")
    return Transfer(str(syntax) if syntax else None, (quality or _DEFAULT_QUALITY) if is_lossy else None)


def _quality(node: Node | None) -> int | None:
    text = _text(node, "a number from 1 to 100")
    if node is None or text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100:  # noqa: PLR2004
        node.fault(f'`quality` goes from 1 (small) to 100 (fine), found "{text}".')
        return None
    return int(text)


def _label(kind: str) -> Callable[[_Reading], Task | None]:
    def parse(reading: _Reading) -> Task | None:
        labels = [text.text for text in reading.node.texts("a label")]
        for label in labels:
            # Orthanc's own rule for labels.
            if (
                len(label) > _LONGEST_LABEL
                or not label.isascii()
                or not label.replace("-", "").replace("_", "").isalnum()
            ):
                reading.node.fault(f'"{label}" is no label: letters without accents, digits, "-" and "_", no blanks.')
        return Task(kind, {"labels": labels}) if labels else None

    return parse


def _set(reading: _Reading) -> Task | None:
    changes = _attributes(reading.node)
    return Task("set", {"changes": changes}) if changes else None


def _model(reading: _Reading) -> Task | None:
    presets = _names(reading.node, reading.known.presets(), "tissue", "the page 3D")
    return Task("model", {"presets": list(presets)}) if presets else None


def _hl7(reading: _Reading) -> Task | None:
    names = _names(reading.node, reading.known.destinations(), "system", "Pacs.Outbound.Destinations")
    return Task("hl7", {"destinations": list(names)}) if names else None


def _mail(reading: _Reading) -> Task | None:
    addresses = [text.text for text in reading.node.texts("an e-mail address")]
    for address in addresses:
        name, at, host = address.partition("@")
        if not (name and at and "." in host) or any(char.isspace() or char in ",;<>" for char in address):
            reading.node.fault(f'"{address}" is no e-mail address; write name@hospital.example, several as a list.')
    texts = {key: _template(reading.options.get(key)) for key in ("subject", "text")}
    return Task("mail", {"to": addresses, **_given(texts)}) if addresses else None


def _webhook(reading: _Reading) -> Task | None:
    url = _text(reading.node, "an address such as https://ris.hospital.example/hook")
    if url is None:
        return None
    if not url.startswith(("https://", "http://")) or not url.partition("://")[2].strip("/"):
        reading.node.fault(f'"{url}" is no web address; write https://ris.hospital.example/hook')
    secret = _text(reading.options.get("secret"), "the name of a secret")
    if secret is not None and not secret.replace("-", "").replace("_", "").isalnum():
        reading.options["secret"].fault(
            "name the secret that the server's settings hold; the secret itself never stands here."
        )
    given = _given({"secret": secret, "body": _template(reading.options.get("body"))})
    return Task("webhook", {"url": url, **given})


def _prefetch(reading: _Reading) -> Task | None:
    known = ("modalities", "body_parts", "last", "within_days", "from", "to")
    entries = reading.node.entries("modalities, body_parts, last, within_days, from, to")
    for key in entries.keys() - set(known):
        entries[key].fault(f'`prefetch` knows no "{key}"; {did_you_mean(key, known)}')
    parameters: dict[str, Any] = {
        key: [text.text for text in entries[key].texts("a list")]
        for key in ("modalities", "body_parts")
        if key in entries
    }
    for key in ("last", "within_days"):
        if (count := _count(entries.get(key))) is not None:
            parameters[key] = count
    for key in ("from", "to"):
        if (name := _text(entries.get(key), "a target")) is not None:
            _check(entries[key], name, reading.known.targets(), "target", "targets.yaml")
            parameters[key] = name
    if "from" in parameters:
        _check_searchable(entries["from"], parameters["from"], reading.known)
    if entries and not entries.keys() & {"from", "to"}:
        reading.node.fault("`prefetch` needs `from:`, who has the earlier studies, or `to:`, who gets them.")
    return Task("prefetch", parameters)


def _check_searchable(node: Node, name: str, known: Known) -> None:
    archives = sorted(known.archives())
    if name in known.targets() and name not in known.archives():
        others = f"name one of {', '.join(archives)}." if archives else "there is none in targets.yaml yet; add it."
        node.fault(
            f'"{name}" can\'t be searched for earlier studies; targets of kind dicom can (C-FIND and C-MOVE): {others}'
        )


def _count(node: Node | None) -> int | None:
    text = _text(node, "a whole number")
    if node is None or text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 100_000:  # noqa: PLR2004
        node.fault(f'expected a whole number above 0, found "{text}".')
        return None
    return int(text)


def _names(node: Node, known: Any, what: str, where: str) -> tuple[str, ...]:
    found = node.texts(f"the name of a {what}")
    for name in found:
        if name.text not in known:
            cure = did_you_mean(name.text, known) or f"there is none yet; add it to {where}."
            node.fault_at(name.place, f'there is no {what} "{name.text}"; {cure}')
    return tuple(dict.fromkeys(name.text for name in found))


def _check(node: Node, name: str, known: Any, what: str, where: str) -> None:
    if name not in known:
        cure = did_you_mean(name, known) or f"there is none yet; add it to {where}."
        node.fault(f'there is no {what} "{name}"; {cure}')


def _attributes(node: Node) -> dict[str, str]:
    changes: dict[str, str] = {}
    for keyword, value in node.entries("attributes and their new values").items():
        if fault := _fault_of_change(keyword):
            value.fault(fault)
        elif (text := value.text('the new value, "" for none')) is not None:
            changes[keyword] = text
    return changes


def _fault_of_change(keyword: str) -> str:
    if tag_for_keyword(keyword) is None:
        return f'"{keyword}" is no DICOM keyword; {did_you_mean(keyword, _settable())}'
    if keyword in _NEVER_SET:
        return f"{keyword} says whose images these are, or how to read them; a rule never changes it."
    if dictionary_VR(keyword) == "SQ":
        return f"{keyword} is a sequence; only single values can be set."
    return ""


def _settable() -> list[str]:
    return [
        "AccessionNumber",
        "InstitutionName",
        "InstitutionalDepartmentName",
        "ReferringPhysicianName",
        "StudyDescription",
    ]


def _template(node: Node | None) -> str | None:
    text = _text(node, "a text")
    if node is None or text is None:
        return None
    if len(text) > _LONGEST_TEMPLATE:
        node.fault(f"longer than {_LONGEST_TEMPLATE} characters.")
        return None
    try:
        SandboxedEnvironment(autoescape=False).parse(text)
    except TemplateSyntaxError as error:
        node.fault(f"no template (Jinja2): {error.message}; write values as {{{{ StudyDescription }}}}.")
        return None
    return text


def _text(node: Node | None, expected: str) -> str | None:
    return None if node is None else node.text(expected)


def _chosen[T](node: Node | None, choices: Mapping[str, T], default: T) -> T:
    text = _text(node, "one of: " + ", ".join(choices))
    if node is None or text is None:
        return default
    by_small_letters = {word.lower(): value for word, value in choices.items()}
    if text.lower() not in by_small_letters:
        node.fault(f'"{text}" is not known; expected one of: {", ".join(choices)}.')
    return by_small_letters.get(text.lower(), default)


def _given(options: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in options.items() if value is not None}


_PARSERS: dict[str, tuple[Callable[[_Reading], Doing | None], tuple[str, ...]]] = {
    "send": (_send, _SEND_OPTIONS),
    "export": (_send, _SEND_OPTIONS),
    "label": (_label("label"), ()),
    "unlabel": (_label("unlabel"), ()),
    "set": (_set, ()),
    "model": (_model, ()),
    "mail": (_mail, ("subject", "text")),
    "webhook": (_webhook, ("secret", "body")),
    "hl7": (_hl7, ()),
    "prefetch": (_prefetch, ()),
}

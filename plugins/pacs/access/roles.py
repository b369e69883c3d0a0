"""The policy: what each role may do. Everything that is not granted here is refused."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from functools import lru_cache

# What NGINX tells of the person who is signed in; always there in what comes through it, "none" without any role.
ROLES_HEADER = "Pacs-Roles"


class Role(StrEnum):
    """What a person or a program is here, as the sign-in names it."""

    ADMIN = "admin"
    RADIOLOGIST = "radiologist"
    TECHNICIAN = "technician"
    REFERRING = "referring"
    MACHINE = "machine"


class Action(StrEnum):
    """What one may do here."""

    COME_IN = "come-in"  # the frame of the pages: style, language, what one may not do
    LOOK = "look"  # find studies and open them in a viewer
    READ_DICOMWEB = "read-dicomweb"  # QIDO-RS, WADO-RS, WADO-URI
    STORE_DICOMWEB = "store-dicomweb"  # STOW-RS
    EXPLORE = "explore"  # Orthanc Explorer and what Orthanc's REST API tells of patients, studies, series, instances
    DOWNLOAD = "download"  # ZIP files of studies
    SEND = "send"  # to registered stations, and see which there are
    FETCH = "fetch"  # query registered stations and retrieve from them
    MODEL = "model"  # 3D models: make, look at, download, save in the study
    UPLOAD = "upload"  # DICOM files from this computer
    READ_WORKLIST = "read-worklist"
    EDIT_WORKLIST = "edit-worklist"
    READ_AES = "read-aes"  # the page of the stations, and C-ECHO to them
    ADMINISTER = "administer"  # delete, change, anonymize; stations, HL7, jobs, system; all that has no other action


_REFERRING = {Action.COME_IN, Action.LOOK, Action.READ_DICOMWEB}
_RADIOLOGIST = _REFERRING | {
    Action.EXPLORE,
    Action.DOWNLOAD,
    Action.SEND,
    Action.FETCH,
    Action.READ_WORKLIST,
    Action.MODEL,
}
_TECHNICIAN = _RADIOLOGIST | {Action.UPLOAD, Action.STORE_DICOMWEB, Action.EDIT_WORKLIST, Action.READ_AES}

GRANTS: dict[Role, frozenset[Action]] = {
    Role.REFERRING: frozenset(_REFERRING),
    Role.RADIOLOGIST: frozenset(_RADIOLOGIST),
    Role.TECHNICIAN: frozenset(_TECHNICIAN),
    Role.MACHINE: frozenset({Action.COME_IN, Action.READ_DICOMWEB, Action.STORE_DICOMWEB}),
    Role.ADMIN: frozenset(Action),
}
# Of whoever is signed in, whatever the sign-in knows of them.
_GRANTED_TO_ALL = frozenset({Action.COME_IN})


@lru_cache(maxsize=256)
def read_roles(header: str) -> frozenset[Role]:
    """Return the roles that a value of Pacs-Roles names. What is no role here counts for nothing."""
    return frozenset(Role(name) for name in map(str.strip, header.split(",")) if name in Role)


@lru_cache(maxsize=256)
def actions_of(roles: frozenset[Role]) -> frozenset[Action]:
    """Return what somebody with these roles may do."""
    return _GRANTED_TO_ALL.union(*(GRANTS[role] for role in roles))


def roles_with(action: Action) -> list[Role]:
    """Return the roles that may do something, in the order of their declaration."""
    return [role for role in Role if action in GRANTS[role]]


def written(roles: Collection[Role]) -> str:
    """Return roles as the header and the log write them."""
    return ",".join(role.value for role in Role if role in roles) or "none"

"""Which action each address of Orthanc's REST API and of its plugins is (Orthanc 1.12, orthanc-dicomweb 1.20)."""

from __future__ import annotations

import re
from collections import defaultdict

from pacs.access.roles import Action

_LEVELS = ("patients", "studies", "series", "instances")

# Methods, address, action; the first that fits counts, and what fits none is to ADMINISTER: all of DELETE and PUT,
# modifying and anonymizing, stations, peers, /tools/..., and whatever a later Orthanc adds.
# In an address * is one part, ** any number of parts, none included.
ROUTES: tuple[tuple[str, str, Action], ...] = (
    # DICOMweb
    ("GET", "/dicom-web/studies/**", Action.READ_DICOMWEB),
    ("GET", "/dicom-web/series", Action.READ_DICOMWEB),
    ("GET", "/dicom-web/instances", Action.READ_DICOMWEB),
    ("GET", "/wado", Action.READ_DICOMWEB),
    ("POST", "/dicom-web/studies", Action.STORE_DICOMWEB),
    ("POST", "/dicom-web/studies/*", Action.STORE_DICOMWEB),
    # The web viewer, which asks for nothing else
    ("GET", "/web-viewer/**", Action.LOOK),
    # Orthanc Explorer and the small client of the DICOMweb plugin
    ("GET", "/", Action.EXPLORE),
    ("GET", "/app/**", Action.EXPLORE),
    ("GET", "/system", Action.EXPLORE),
    ("GET", "/plugins/**", Action.EXPLORE),
    ("GET", "/dicom-web/app/**", Action.EXPLORE),
    ("GET", "/dicom-web/libs/**", Action.EXPLORE),
    ("GET", "/dicom-web/info", Action.EXPLORE),
    # Searches, which are posted
    ("POST", "/tools/find", Action.EXPLORE),
    ("POST", "/tools/lookup", Action.EXPLORE),
    ("POST", "/tools/bulk-content", Action.EXPLORE),
    ("POST", "/tools/count-resources", Action.EXPLORE),
    ("GET", "/tools/labels", Action.EXPLORE),
    # ZIP files
    ("GET POST", "/tools/create-archive", Action.DOWNLOAD),
    ("GET POST", "/tools/create-media", Action.DOWNLOAD),
    ("GET POST", "/tools/create-media-extended", Action.DOWNLOAD),
    *(("GET POST", f"/{level}/*/archive", Action.DOWNLOAD) for level in _LEVELS),
    *(("GET POST", f"/{level}/*/media", Action.DOWNLOAD) for level in _LEVELS),
    ("GET", "/jobs/*/archive", Action.DOWNLOAD),
    # What is stored
    *(("GET", f"/{level}/**", Action.EXPLORE) for level in _LEVELS),
    ("POST", "/instances", Action.UPLOAD),
    # To and from registered stations
    ("GET", "/modalities", Action.SEND),
    ("POST", "/modalities/*/store", Action.SEND),
    ("POST", "/modalities/*/echo", Action.SEND),
    ("GET", "/peers", Action.SEND),
    ("POST", "/peers/*/store", Action.SEND),
    ("GET", "/dicom-web/servers", Action.SEND),
    ("POST", "/dicom-web/servers/*/stow", Action.SEND),
    ("GET", "/jobs", Action.SEND),
    ("GET", "/jobs/*", Action.SEND),
    ("POST", "/modalities/*/query", Action.FETCH),
    ("POST", "/modalities/*/move", Action.FETCH),
    ("GET POST DELETE", "/queries/**", Action.FETCH),
)


def _pattern(address: str) -> re.Pattern[str]:
    parts = re.escape(address).replace(r"/\*\*", "(?:/.*)?").replace(r"\*", "[^/]+")
    return re.compile(parts or "/", re.DOTALL)


# By the address's first part and the method: a decision is made for every request.
_RULES: defaultdict[tuple[str, str], list[tuple[re.Pattern[str], Action]]] = defaultdict(list)
for _methods, _address, _action in ROUTES:
    for _method in _methods.split():
        _RULES[_method, _address.split("/")[1]].append((_pattern(_address), _action))


def action_of(method: str, path: str) -> Action:
    """Return what a request to Orthanc does.

    Parameters
    ----------
    method : as Orthanc acts on it: GET for HEAD and OPTIONS too, that of X-HTTP-Method-Override where there is one.
    path : as Orthanc acts on it: decoded, without dots and double slashes. One slash at its end changes nothing.
    """
    path = path.removesuffix("/") or "/"
    first = path[1:].partition("/")[0]
    return next(
        (action for pattern, action in _RULES.get((method, first), ()) if pattern.fullmatch(path)), Action.ADMINISTER
    )

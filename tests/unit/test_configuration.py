"""A site's own settings over Orthanc's configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pacs import configuration

FRAGMENTS = Path(__file__).parents[2] / "orthanc" / "config"
ENVIRONMENT = {
    "PACS_DATA_DIR": "/data",
    "PACS_AET": "PACS",
    "PACS_DICOM_PORT": "4242",
    "PACS_HL7_PORT": "2575",
    "PACS_ORTHANC_HTTP_PORT": "8042",
    "PACS_DATABASE_URL": "sqlite:////data/pacs.db",
}


def test_comments_and_variables_are_understood(tmp_path: Path) -> None:
    """Orthanc's dialect: both kinds of comments, variables also as numbers; what is in a string is left alone."""
    path = tmp_path / "x.json"
    path.write_text(
        '{ // a "comment"\n "Url": "http://x//y", /* and\nmore */ "Port": ${PORT}, "Name": "${NAME:-none}" }'
    )
    expected = {"Url": "http://x//y", "Port": 12, "Name": "none"}
    assert configuration.load(path, {"PORT": "12"}) == expected
    assert configuration.load(path, {"PORT": "12", "NAME": ""}) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n"A": 1,\n}', "line 2"),
        ("[1]", "found list, expected an object"),
        ('{"A": ${MISSING}}', "MISSING is not set"),
    ],
)
def test_own_file_that_is_no_json_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    """A slip in settings.json is found by its line."""
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(configuration.ConfigurationError) as told:
        configuration.load(path, {})
    assert words in str(told.value)


def test_own_file_wins_key_by_key(tmp_path: Path) -> None:
    """The own file changes what it names and leaves the rest."""
    own = tmp_path / "settings.json"
    own.write_text(json.dumps({"Pacs": {"Web": {"Language": "pt"}}, "StableAge": 5}))
    merged = configuration.load_all(FRAGMENTS, own, ENVIRONMENT)
    assert merged["StableAge"] == 5
    assert merged["Pacs"]["Web"]["Language"] == "pt"
    assert merged["Pacs"]["Database"]["Url"] == "sqlite:////data/pacs.db"
    assert merged["DicomPort"] == 4242


def test_merged_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The merged configuration may hold secrets: nobody else reads it."""
    path = tmp_path / "orthanc.json"
    configuration.write({"A": 1}, path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_variable_is_explained() -> None:
    """What Orthanc's configuration asks of its environment stands in the README's table."""
    asked = {name for path in FRAGMENTS.rglob("*.json") for name in re.findall(r"\$\{(\w+)", path.read_text())}
    rows = [
        line.split("|")[1] for line in (FRAGMENTS.parent / "README.md").read_text().splitlines() if line[:2] == "| "
    ]
    assert asked - set(re.findall(r"\w+", " ".join(rows))) == set()

"""The check of a server's settings before it is restarted with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pacs.server import __main__ as server

PASSWORD = "notforyoureyes"  # noqa: S105 - of nothing


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Give a whole installation but for its settings, as command line."""
    (tmp_path / "pacs.env").write_text("PACS_DATA_DIR=/srv/pacs\nPACS_AET=PACS\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "PACS_DATABASE_URL").write_text(f"postgresql+psycopg://pacs:{PASSWORD}@/pacs\n")
    (credentials / "PACS_ORTHANC_DATABASE_URL").write_text(f"postgresql://orthanc:{PASSWORD}@/orthanc")
    return [
        "check",
        f"--environment={tmp_path / 'pacs.env'}",
        f"--credentials={credentials}",
        f"--settings={tmp_path / 'settings.json'}",
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('{"Pacs": {"Web": {"Langage": "es"}}}', 'Pacs.Web.Langage: unknown key; did you mean "Language"?'),
        ('{"Pacs": {"Hl7": {"Peers": {"HIS": {"Addresses": ["10.0.0.300"]}}}}}', "Pacs.Hl7.Peers.HIS.Addresses"),
        ('{\n"StableAge": 5,\n}', "line 2"),
        ('{"Pacs": {"Database": {"Url": "mysql://a:secret@b/c"}}}', "Pacs.Database.Url"),
    ],
)
def test_check_tells_a_mistake_with_its_place(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], settings: str, words: str
) -> None:
    """A person who made a mistake reads where it is; no password is told with it."""
    (tmp_path / "settings.json").write_text(settings)
    assert server.main(arguments) == 1
    told = capsys.readouterr().err
    assert words in told
    assert PASSWORD not in told
    assert "secret" not in told


def test_check_is_content_with_settings_that_are_right(tmp_path: Path, arguments: list[str]) -> None:
    """What a server has is found to be in order."""
    (tmp_path / "settings.json").write_text(json.dumps({"StableAge": 5, "Pacs": {"Web": {"Language": "pt"}}}))
    assert server.main(arguments) == 0


def test_configuration_of_a_server_has_its_index_in_postgresql(tmp_path: Path) -> None:
    """Fragments, PostgreSQL's and the site's own come together, and the last wins."""
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"PostgreSQL": {"IndexConnectionsCount": 3}, "StableAge": 7}))
    environment = {
        "PACS_DATA_DIR": "/srv/pacs",
        "PACS_DATABASE_URL": "postgresql+psycopg://pacs@/pacs",
        "PACS_ORTHANC_DATABASE_URL": "postgresql://orthanc@/orthanc",
    }
    merged = server.assemble(server.RELEASE / "orthanc" / "config", settings, environment)
    assert merged["PostgreSQL"]["EnableIndex"] is True
    assert merged["PostgreSQL"]["ConnectionUri"] == "postgresql://orthanc@/orthanc"
    assert (merged["PostgreSQL"]["IndexConnectionsCount"], merged["StableAge"]) == (3, 7)

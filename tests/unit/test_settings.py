"""The settings: right ones are taken, wrong ones are told all at once."""

from __future__ import annotations

from typing import Any

import pytest

from pacs.errors import SettingsError
from pacs.settings import main, parse_settings


def test_settings_are_complete_without_any_key() -> None:
    """Whoever sets nothing gets defaults that work."""
    settings = parse_settings({})
    assert settings.hl7.port == 2575
    assert settings.database.url.startswith("sqlite:///")
    assert settings.web.language == "es"


def test_settings_tell_five_mistakes_together() -> None:
    """Each of five mistakes is named with its place, what was found, and the cure."""
    section: dict[str, Any] = {
        "Databse": {},
        "Hl7": {"Port": 99999},
        "Web": {"Language": "klingon", "PageSize": "many"},
        "Database": {"Url": "mysql://nobody"},
    }
    with pytest.raises(SettingsError) as told:
        parse_settings(section)
    text = str(told.value)
    assert len(told.value.faults) == 5
    for words in (
        'Pacs.Databse: unknown key; did you mean "Database"?',
        "Pacs.Hl7.Port: found 99999",
        'Pacs.Web.Language: found "klingon"',
        'Pacs.Web.PageSize: found "many"',
        'Pacs.Database.Url: found "mysql://nobody"',
    ):
        assert words in text


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ({"Web": {"Pagesize": 20}}, 'Pacs.Web.Pagesize: unknown key; did you mean "PageSize"?'),
        ({"Zzz": 1}, "Pacs.Zzz: unknown key; known here: "),
        ({"Hl7": {"Port": 0}}, "Pacs.Hl7.Port: found 0"),
        ({"Hl7": {"Port": "x"}}, 'Pacs.Hl7.Port: found "x"'),
        ({"Web": []}, "Pacs.Web: found []"),
    ],
)
def test_settings_say_where_and_what(section: dict[str, Any], place: str) -> None:
    """A fault's line begins with its place in the tree."""
    with pytest.raises(SettingsError) as told:
        parse_settings(section)
    assert told.value.faults[0].startswith(place)


def test_settings_never_repeat_a_password() -> None:
    """A database address that is refused is shown without its password."""
    with pytest.raises(SettingsError) as told:
        parse_settings({"Database": {"Url": "mysql://pacs:geheim@host/db"}})
    assert "geheim" not in str(told.value)


def test_every_setting_is_listed_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    """What stands below a section, a name or an entry of a list is told too; no section is an object of Python's."""
    main()
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    listed = dict(line.split(" = ", 1) for line in lines if " = " in line)
    assert {
        "Hl7.Port": "2575",
        "Hl7.Orders.Site": '"pacs"',
        "Hl7.Peers": "{}",
        "Hl7.Peers.<name>.Charset": '"8859/1"',
        "Hl7.Peers.<name>.MostConnections": "64",
        "Hl7.UnknownPeers.MostConnections": "200",
        "Monitoring.GoldenSignal.EveryMinutes": "null",
        "Monitoring.ReferenceLevels[].Modality": "(needed)",
        "Outbound.Destinations.<name>.Host": "(needed)",
        "Outbound.Destinations.<name>.Tls": "null",
        "Outbound.Destinations.<name>.Tls.Verify": "true",
        "Routing.Notify.MailHost": '""',
    }.items() <= listed.items()
    assert not {"Hl7.Orders", "Hl7.UnknownPeers", "Monitoring.GoldenSignal", "Routing.Notify"} & listed.keys()

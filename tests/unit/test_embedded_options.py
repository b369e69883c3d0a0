"""The environment variables of `make run`: taken, or refused in one clear line."""

from __future__ import annotations

import socket

import pytest

from pacs.embedded.options import Options, StartError, require_free_port


def test_options_have_defaults() -> None:
    """Without any variable the documented defaults hold."""
    options = Options.from_environment({})
    assert (options.http_port, options.dicom_port, options.hl7_port, options.mpps_port) == (8080, 4242, 2575, 11113)
    assert options.aet == "PACS"
    assert options.demo


def test_options_take_what_is_set() -> None:
    """Every variable is heard; an empty one counts as not set."""
    options = Options.from_environment(
        {"PACS_HTTP_PORT": "8081", "PACS_DICOM_PORT": "104", "PACS_AET": "SUR", "PACS_DEMO": "0", "PACS_HL7_PORT": ""}
    )
    assert (options.http_port, options.dicom_port, options.hl7_port) == (8081, 104, 2575)
    assert options.aet == "SUR"
    assert not options.demo


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PACS_HTTP_PORT": "http"}, "PACS_HTTP_PORT=http is no port"),
        ({"PACS_HTTP_PORT": "0"}, "PACS_HTTP_PORT=0 is no port"),
        ({"PACS_DICOM_PORT": "65536"}, "PACS_DICOM_PORT=65536 is no port"),
        ({"PACS_HL7_PORT": "-1"}, "PACS_HL7_PORT=-1 is no port"),
        ({"PACS_HTTP_PORT": "\u0661"}, "is no port"),
        ({"PACS_DICOM_PORT": "8080"}, "can't share a port"),
        ({"PACS_MPPS_PORT": "4242"}, "can't share a port"),
        ({"PACS_AET": "SEVENTEEN_LETTERS"}, "is no AE title"),
        ({"PACS_AET": "A\\B"}, "is no AE title"),
        ({"PACS_AET": "ECO "}, "is no AE title"),
        ({"PACS_AET": "\u00d1AND\u00da"}, "is no AE title"),
        ({"PACS_DEMO": "yes"}, "PACS_DEMO=yes is neither 0 nor 1"),
    ],
)
def test_options_refuse_what_can_not_be(environment: dict[str, str], words: str) -> None:
    """A value that can't be used is named together with its variable."""
    with pytest.raises(StartError) as told:
        Options.from_environment(environment)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_port_in_use_is_named_with_its_variable() -> None:
    """Who finds a port taken learns which variable chooses another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as told:
            require_free_port("PACS_HTTP_PORT", port, "127.0.0.1")
    assert str(told.value) == f"Port {port} is in use. End what uses it, or choose another with PACS_HTTP_PORT=PORT."

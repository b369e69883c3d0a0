"""What the server's collector makes of what it hears: figures that Prometheus reads, whatever fails meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Self

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fixtures.monitoring_content import ROLE

CONTROLLER = "Smartctl open device: /dev/sde failed: DELL or MegaRaid controller, please try adding '-d megaraid,N'"
FACTS: dict[str, Any] = {
    "stations": {"CT1": 'CT "new" of the\nward', "US1": ""},
    "night": ["23:00", "05:00"],
    "networks": ["10.20.0.0/24", "fd00:10:20::/64"],
    "certificates": {},
    "encrypted": True,
    "data_directory": "/srv/pacs",
}


@pytest.fixture
def collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the collector of a site, as a module."""
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps(FACTS))
    monkeypatch.setenv("PACS_MONITORING_FACTS", str(facts))
    spec = spec_from_loader("pacs_monitor", SourceFileLoader("pacs_monitor", str(ROLE / "files/pacs-monitor")))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def asker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what asks the disks, as a module."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    spec = spec_from_loader("pacs_disks", SourceFileLoader("pacs_disks", str(ROLE / "files/pacs-disks")))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "DEVICES", tmp_path)
    return module


def read(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return samples as Prometheus's own parser for Python reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_names_in_words_reach_prometheus_as_they_are(collector: Any) -> None:
    """Quotes and line ends in a device's name end no label."""
    samples = read(collector.written(list(collector.stations({}))))

    assert samples["pacs_station_info", (("name", 'CT "new" of the\nward'), ("station", "CT1"))] == 1


def test_part_that_fails_hides_no_other(collector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be asked is left out and named; the others are told."""

    def broken(_state: object) -> list[Any]:
        raise RuntimeError("gone")

    monkeypatch.setattr(collector, "PARTS", {broken: 0, collector.stations: 0})
    samples = read(collector.written(collector.gather({})))

    assert samples["pacs_monitor_failed", (("part", "broken"),)] == 1
    assert samples["pacs_monitor_failed", (("part", "stations"),)] == 0
    assert ("pacs_station_info", (("name", ""), ("station", "US1"))) in samples


def test_slow_part_is_asked_at_its_own_pace_and_told_each_time(collector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk is not asked each minute; what it said last stands until it is asked again."""
    asked = []

    def smart(_state: object) -> list[Any]:
        asked.append(1)
        return [("pacs_smart_healthy", {"device": "sda", "model": "X"}, 1)]

    monkeypatch.setattr(collector, "PARTS", {smart: 3600})
    state: dict[str, Any] = {}
    texts = [collector.written(collector.gather(state)) for _ in range(2)]

    assert len(asked) == 1
    assert "pacs_smart_healthy" in texts[0]
    assert "pacs_smart_healthy" in texts[1]


@pytest.mark.parametrize(
    ("address", "hour", "key"),
    [
        ("10.20.0.7", "12:00", "hospital day"),
        ("10.20.0.7", "23:30", "hospital night"),
        ("fd00:10:20::7", "12:00", "hospital day"),
        ("127.0.0.1", "12:00", "hospital day"),
        ("8.8.8.8", "12:00", "outside day"),
        ("8.8.8.8", "04:59", "outside night"),
        ("8.8.8.8", "05:00", "outside day"),
        ("2001:db8::1", "23:00", "outside night"),
    ],
)
def test_sign_in_is_counted_by_network_and_hour(collector: Any, address: str, hour: str, key: str) -> None:
    """The hospital's networks, IPv6 too, are no news; the night may reach past midnight."""
    own: dict[str, Any] = {"counts": {}, "countries": {}}
    networks = [ip_network(each) for each in FACTS["networks"]]
    collector.note_sign_in(own, ip_address(address), datetime.fromisoformat(f"2026-11-22T{hour}:00"), networks)

    assert own["counts"] == {key: 1}
    assert len(own.get("nights", {})) == (key == "outside night")


@pytest.mark.parametrize(
    ("night", "moment", "began"),
    [
        (["23:00", "05:00"], "2026-11-20T23:30", "2026-11-20"),
        (["23:00", "05:00"], "2026-11-21T04:59", "2026-11-20"),
        (["00:00", "05:00"], "2026-11-21T04:59", "2026-11-21"),
    ],
)
def test_sign_in_at_night_is_told_by_its_night_beyond_the_weekend(
    collector: Any, monkeypatch: pytest.MonkeyPatch, night: list[str], moment: str, began: str
) -> None:
    """Each night is an alert of its own, past a weekend's quiet hours, and forgotten after four days."""
    collector.FACTS["night"] = night
    signed_in = datetime.fromisoformat(moment)
    own: dict[str, Any] = {"since": 0, "counts": {}, "countries": {}, "cursor": "x"}
    collector.note_sign_in(own, ip_address("8.8.8.8"), signed_in, [])
    monkeypatch.setattr(collector, "output", lambda *_command, **_options: "")

    def told(days: float) -> list[Any]:
        monkeypatch.setattr(collector.time, "time", lambda: signed_in.timestamp() + days * 86400)
        return [
            each[1:] for each in collector.sign_ins({"sign_ins": own}) if each[0].endswith("night_timestamp_seconds")
        ]

    assert told(0) == told(3.5) == [({"night": began}, signed_in.timestamp())]
    assert told(4.1) == []
    assert own["nights"] == {}


def test_new_country_is_told_only_after_a_week_of_learning(collector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Countries of the first week are usual; a later one is told with its name, over a weekend."""
    now = 1_800_000_000.0
    monkeypatch.setattr(collector.time, "time", lambda: now)
    monkeypatch.setattr(collector, "output", lambda *_command, **_options: "")
    countries = {
        "Argentina": now - 30 * 86400,
        "Romania": now - 3600,
        "Peru": now - 3 * 86400,
        "Chile": now - 10 * 86400,
    }
    state = {"sign_ins": {"since": now - 31 * 86400, "counts": {}, "countries": countries, "cursor": "x"}}
    told = [labels for name, labels, _ in collector.sign_ins(state) if name.endswith("country_timestamp_seconds")]

    assert told == [{"country": "Romania"}, {"country": "Peru"}]


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        (b"\x0bMSH|^~\\&|PACS\rMSA|AR|PACS-MONITORING-PROBE\r\x1c\r", 1),
        (b"\x0bMSH|^~\\&|PACS\r\x1c\r", 0),
        (b"", 0),
    ],
    ids=["acknowledged", "something else", "closed"],
)
def test_hl7_is_good_when_any_acknowledgment_comes(
    collector: Any, monkeypatch: pytest.MonkeyPatch, answer: bytes, good: int
) -> None:
    """A refusal is an answer; silence and other words are none."""

    class Peer:
        def __init__(self) -> None:
            self.parts = [answer, b""]

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def sendall(self, data: bytes) -> None:
            assert data.startswith(b"\x0bMSH|")
            assert data.endswith(b"\r\x1c\r")

        def recv(self, _size: int) -> bytes:
            return self.parts.pop(0)

    collector.FACTS["hl7_port"] = 2575
    monkeypatch.setattr(collector.socket, "create_connection", lambda *_: Peer())
    samples = {name: value for name, _, value in collector.hl7_acknowledgment({})}

    assert samples["pacs_probe_up"] == good


def test_copy_of_the_logs_is_as_old_as_what_was_last_taken(
    collector: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where none is wanted none is told of; one that never got anywhere is as old as the wish for it."""
    wanted, sent = tmp_path / "pacs.conf", tmp_path / "state"
    monkeypatch.setattr(collector, "LOG_COPY", wanted)
    monkeypatch.setattr(collector, "LOG_COPY_STATE", sent)
    assert list(collector.log_copy({})) == []
    wanted.write_text("[Upload]\nURL=https://logs.test:19532\nServerKeyFile=/x\n")
    os.utime(wanted, (1000, 1000))
    (never,) = collector.log_copy({})
    sent.touch()
    os.utime(sent, (2000, 2000))
    (once,) = collector.log_copy({})

    name, receiver = "pacs_log_copy_last_sent_timestamp_seconds", {"receiver": "https://logs.test:19532"}
    assert (never, once) == ((name, receiver, 1000), (name, receiver, 2000))


def test_disk_tells_how_it_is_or_is_named_as_one_that_could_not_be_asked(
    asker: Any, collector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused question (NVMe without the right to it) and silence are told; virtual disks and sticks are not.

    Nor is a RAID controller's volume: the disks behind it are asked, each by its number.
    """
    kind = {"model_name": "X", "smartctl": {"exit_status": 0}, "smart_support": {"available": True}}
    refused = {"smartctl": {"exit_status": 4, "messages": [{"string": "Read NVMe SMART/Health Information failed"}]}}
    says: dict[str, Any] = {
        "/dev/sda": kind | {"smart_status": {"passed": True}},
        "/dev/sdb": kind | {"smart_status": {"passed": False}, "smartctl": {"exit_status": 8}},
        "/dev/sdc": kind | {"smart_support": {"available": False}},
        "/dev/sdd": {"smartctl": {"exit_status": 1}},
        "/dev/nvme0": kind | refused,
        "/dev/nvme1": subprocess.TimeoutExpired("smartctl", 20),
        "/dev/sde": {"smartctl": {"exit_status": 2, "messages": [{"string": CONTROLLER}]}},
        "--device=megaraid,4 /dev/bus/0": kind | {"smart_status": {"passed": True}},
        "--device=megaraid,5 /dev/bus/0": kind | refused,
    }
    found = [{"name": key.split()[-1], "type": key.split()[0].partition("=")[2] or "scsi"} for key in says]

    def run(command: list[str], **_options: object) -> Any:
        told = {"devices": found} if "--scan" in command else says[" ".join(command[4:])]
        if isinstance(told, Exception):
            raise told
        return subprocess.CompletedProcess(command, 0, json.dumps(told))

    monkeypatch.setattr(asker.subprocess, "run", run)
    asker.main()
    monkeypatch.setattr(collector, "DISKS", asker.ANSWERS)
    told = [(name, labels.get("device", labels.get("part")), value) for name, labels, value in collector.disks({})]

    assert told == [
        ("pacs_smart_healthy", "sda", 1),
        ("pacs_smart_healthy", "sdb", 0),
        ("pacs_monitor_failed", "disk nvme0", 1),
        ("pacs_monitor_failed", "disk nvme1", 1),
        ("pacs_smart_healthy", "bus/0 megaraid,4", 1),
        ("pacs_monitor_failed", "disk bus/0 megaraid,5", 1),
    ]


def test_disks_that_nobody_asks_any_more_are_told(
    collector: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An answer of the day before yesterday is none, nor is a missing one."""
    monkeypatch.setattr(collector, "PARTS", {collector.disks: 0})
    monkeypatch.setattr(collector, "DISKS", tmp_path / "answers.json")
    key = ("pacs_monitor_failed", (("part", "disks"),))
    assert read(collector.written(collector.gather({})))[key] == 1
    collector.DISKS.write_text("[]")
    assert read(collector.written(collector.gather({})))[key] == 0
    os.utime(collector.DISKS, (1000, 1000))
    assert read(collector.written(collector.gather({})))[key] == 1


@pytest.mark.parametrize(("active", "failed"), [(True, 1), (False, 0)])
def test_part_of_a_service_that_is_down_is_no_second_alert(
    collector: Any, monkeypatch: pytest.MonkeyPatch, *, active: bool, failed: int
) -> None:
    """While a service is down its own alert tells; one that runs and says nothing is told."""

    def refuses(*_command: str, **_options: object) -> str:
        raise OSError("no answer")

    monkeypatch.setattr(collector, "output", refuses)
    monkeypatch.setattr(collector, "runs", lambda service: active and service == "named")
    monkeypatch.setattr(collector, "PARTS", {collector.names: 0})

    samples = read(collector.written(collector.gather({})))
    assert samples["pacs_monitor_failed", (("part", "names"),)] == failed

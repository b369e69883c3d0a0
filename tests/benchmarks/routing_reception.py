"""What rules cost the images that arrive: `python -m benchmarks.routing_reception [--runs N]`.

A CT of 240 slices is sent by C-STORE to three archives in turns: one without rules, one with fifty that are asked when
a study is stable, and one where five of the fifty are asked of every image as it comes, which is the dearest there is.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from benchmarks.routing_rules import rules_file
from fixtures.running_pacs import RunningPacs, running
from pacs.demo.attributes import Series, Study
from pacs.demo.canvas import Grid
from pacs.demo.studies import INIGO, ct_slices
from pacs.demo.syntaxes import write

SLICES = 240
RULES = 50
OF_EACH_IMAGE = 5
START_SECONDS = 30
TARGETS = "targets:\n  university: {kind: dicom, aet: UNIVERSITY, host: 127.0.0.1, port: 1}\n"
STUDY_STABLE = rules_file(RULES)
EACH_IMAGE = STUDY_STABLE.replace("\n    if:", "\n    on: instance\n    if:", OF_EACH_IMAGE)
FILES = {"no rules": None, f"{RULES} rules": STUDY_STABLE, f"{OF_EACH_IMAGE} of {RULES} of each image": EACH_IMAGE}


def main() -> None:
    """Measure and print the medians, and what is left of the rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="interleaved runs of which the median counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pacs-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        series_instance_uid = _scan(folder / "scan")
        archives = {
            title: stack.enter_context(running(_with_rules(folder / str(number), rules)))
            for number, (title, rules) in enumerate(FILES.items())
        }
        for number in range(1, len(archives)):
            _wait_until_in_force(folder / str(number) / "plugins/routing/history/rules.jsonl")
        seconds: dict[str, list[float]] = defaultdict(list)
        for run in range(options.runs + 1):
            for title, pacs in archives.items():
                took = _send_and_forget(pacs, folder / "scan", series_instance_uid)
                if run:  # the very first warms up
                    seconds[title].append(took)
    base = statistics.median(seconds["no rules"])
    print(f"\n| C-STORE of {SLICES} slices | s | rate |\n|---|---|---|")
    for title, values in seconds.items():
        print(f"| {title} | {statistics.median(values):.2f} | {base / statistics.median(values):.2f} |")


def _with_rules(directory: Path, rules: str | None) -> Path:
    """Return a new archive's data directory, its rules where it looks for them."""
    folder = directory / "plugins" / "routing"
    folder.mkdir(parents=True)
    (folder / "targets.yaml").write_text(TARGETS)
    if rules is not None:
        (folder / "rules.yaml").write_text(rules)
    return directory


def _wait_until_in_force(history: Path) -> None:
    """Wait until the rules count: a file with a mistake would cost nothing."""
    give_up_at = time.monotonic() + START_SECONDS
    while not history.exists() or f"Rule {RULES - 1}" not in history.read_text():
        assert time.monotonic() < give_up_at, f"the rules are not in {history}"
        time.sleep(0.2)


def _scan(folder: Path) -> str:
    series = Series(Study(INIGO, "routing reception", date(2026, 1, 1)), "CT", 2, f"{SLICES} slices", "CHESTABDOMEN")
    grid = Grid((-199.609375, -185.609375, 0.0), (0.78125, 0.78125, 2.0), (512, 512, SLICES))
    for number, instance in enumerate(ct_slices(series, grid)):
        write(instance, folder / f"{number:03}.dcm")
    return str(instance.SeriesInstanceUID)


def _send_and_forget(pacs: RunningPacs, folder: Path, series_instance_uid: str) -> float:
    """Send over one association, see that all is there, remove it, and return how long the sending took."""
    command = ["/usr/bin/storescu", "-aec", pacs.aet, "+sd", "127.0.0.1", str(pacs.dicom_port), str(folder)]
    started = time.monotonic()
    subprocess.run(command, env={**os.environ, "TCP_NODELAY": "1"}, check=True, capture_output=True)
    seconds = time.monotonic() - started
    [found] = pacs.archive.post_bytes("/tools/lookup", series_instance_uid.encode())
    assert len(pacs.archive.get_json(f"/series/{found['ID']}")["Instances"]) == SLICES
    pacs.archive.delete(f"/series/{found['ID']}")
    return seconds


if __name__ == "__main__":
    main()

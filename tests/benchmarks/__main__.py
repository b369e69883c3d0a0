"""Measure and print the table: `make bench`, or `python -m benchmarks [--runs N] [--only NAME]...`."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path

from benchmarks import measures, viewer
from benchmarks.contenders import Contender, ours, stock, without_plugin
from benchmarks.measures import Scan
from pacs.demo.attributes import Series, Study
from pacs.demo.canvas import Grid
from pacs.demo.studies import INIGO, ct_slices
from pacs.demo.syntaxes import write

SLICES = 240
type Measure = Callable[[Contender, Scan], dict[str, float]]
type Figures = dict[str, dict[str, list[float]]]


def _timed(name: str, measure: Callable[[Contender, Scan], float]) -> Measure:
    return lambda contender, scan: {name: measure(contender, scan)}


# name: (measure, whether it starts with an empty archive). The order matters: what is stored last is then retrieved.
MEASURES: dict[str, tuple[Measure, bool]] = {
    "c-store-nagle": (_timed("C-STORE, client with Nagle", partial(measures.store_by_c_store, nodelay=False)), True),
    "c-store": (_timed("C-STORE, client without Nagle", partial(measures.store_by_c_store, nodelay=True)), True),
    "rest-orthanc": (_timed("REST ingest, at Orthanc", partial(measures.store_by_rest, past_nginx=True)), True),
    "rest": (_timed("REST ingest", partial(measures.store_by_rest, past_nginx=False)), True),
    "c-move": (_timed("C-MOVE out", measures.move_out), False),
    "wado-rs": (_timed("WADO-RS out", measures.retrieve_by_wado_rs), False),
    "ohif": (viewer.open_in_ohif, False),
}
ON_INGEST = ("c-store", "rest-orthanc")


def main() -> None:
    """Measure what the command line names and print each figure with its ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of which the median counts")
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="measure this alone")
    options = parser.parse_args()
    chosen = options.only or list(MEASURES)
    with tempfile.TemporaryDirectory(prefix="pacs-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        scan = _scan(directory / "scan")
        contenders = [
            stack.enter_context(start(directory / str(number)))
            for number, start in enumerate((stock, ours, without_plugin))
        ]
        if "ohif" in chosen:
            contenders[0].viewer_url = stack.enter_context(
                viewer.published_ohif(contenders[0].url, directory / "published-ohif")
            )
        figures = _measure(contenders, scan, chosen, options.runs)
        _print_table(figures, contenders)


def _scan(folder: Path) -> Scan:
    """Write the CT of 240 slices of 512 x 512 that everything is measured with."""
    series = Series(Study(INIGO, "bench", date(2026, 1, 1)), "CT", 2, "240 slices", "CHESTABDOMEN")
    grid = Grid((-199.609375, -185.609375, 0.0), (0.78125, 0.78125, 2.0), (512, 512, SLICES))
    for number, instance in enumerate(ct_slices(series, grid)):
        write(instance, folder / f"{number:03}.dcm")
    return Scan(folder, str(instance.StudyInstanceUID), str(instance.SeriesInstanceUID), SLICES)


def _measure(contenders: list[Contender], scan: Scan, chosen: list[str], runs: int) -> Figures:
    """Measure run by run, contender by contender, so that what disturbs the machine disturbs all of them."""
    figures: Figures = defaultdict(lambda: defaultdict(list))
    for run in range(runs):
        for name in chosen:
            measure, begins_empty = MEASURES[name]
            for contender in contenders:
                if contender.name == "ours without plugin" and name not in ON_INGEST:
                    continue
                if begins_empty:
                    contender.forget_everything()
                for what, seconds in measure(contender, scan).items():
                    figures[what][contender.name].append(seconds)
        print(f"run {run + 1} of {runs} done", flush=True)
    return figures


def _print_table(figures: Figures, contenders: list[Contender]) -> None:
    """Print medians, spread and ratios in Markdown."""
    by_name = {contender.name: contender for contender in contenders}
    print("\n| what | stock | ours | ours / stock | ours without plugin | plugin's cost |\n|---|---|---|---|---|---|")
    for name, seconds in figures.items():
        print(_row(name, {who: statistics.median(values) for who, values in seconds.items()}, "s"))
    start = {who: contender.start_seconds for who, contender in by_name.items()}
    print(_row("start, empty archive", start, "s"))
    memory = {who: contender.memory_bytes() / 1024**2 for who, contender in by_name.items()}
    print(_row("memory afterwards (PSS, all processes)", memory, "MB"))


def _row(name: str, values: dict[str, float], unit: str) -> str:
    stock_value, our_value, bare = values["stock"], values["ours"], values.get("ours without plugin")
    cells = [f"{stock_value:.2f} {unit}", f"{our_value:.2f} {unit}", f"{our_value / stock_value:.2f}"]
    cells += [f"{bare:.2f} {unit}", f"{our_value / bare - 1:+.1%}"] if bare else ["", ""]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

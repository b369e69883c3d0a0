"""3D models against dicom2stl: `python -m benchmarks.mesh_job [--runs N] [--only ph400|rt199] [--phantom FOLDER]`.

Equal jobs: full resolution, threshold 300 HU, 25 iterations of smoothing, 90 % of the triangles away; pieces below 5 %
of the largest away on rt199, all kept on ph400. dicom2stl runs as a person would run it, from DICOM files; ours as a
job in a warm child. Run by run, contender by contender; medians and ratios. Accuracy is that of the phantom, whose
truth is a formula. The lower bound reads the bytes, passes once over the voxels and writes as many bytes as the model.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fixtures.mesh_phantom import Phantom, bone_phantom
from fixtures.mesh_sources import surface_points
from pacs.mesh.edges import bad_edges
from pacs.mesh.measuring import volume_and_area
from pacs.mesh.surface import Surface
from pacs.ports import Json
from pacs.processes import Interpreter, Job, Limits, PoolPolicy, ProcessPool, Progress

LEVEL_HU = 300
ROOT = Path(__file__).parents[2]
RT199 = ROOT.parent / "shared" / "data" / "dicom" / "ct_alderson_rt199.tar.xz"
_MEGABYTE = 1e6
_CHILD = "pacs.mesh.jobs.child"


@dataclass(frozen=True)
class Series:
    """What is meshed: a folder of DICOM files; the phantom where the truth is known; the bytes of its voxels."""

    name: str
    folder: Path
    phantom: Phantom | None
    small_share: float

    @property
    def files(self) -> list[Path]:
        """All files, in no order that means anything."""
        return sorted(self.folder.iterdir())

    @property
    def arguments(self) -> dict[str, Json]:
        """What every function of the child is told."""
        return {"images": [str(file) for file in self.files], "masks": {}, "content": self.name}


@dataclass(frozen=True)
class Made:
    """One run: how long, how much memory at most, and the model if there is one."""

    seconds: float
    memory_bytes: int
    model: Path | None = None
    told: Mapping[str, Any] | None = None


type Contender = Callable[[Series, Path], Made]


class Ours:
    """Our jobs, in a child that is warm."""

    def __init__(self, pool: ProcessPool) -> None:
        self._pool = pool

    def reduced(self, series: Series, place: Path) -> Made:
        """Do the equal job."""
        return self._model(series, place, reduce={"share": 0.9})

    def full(self, series: Series, place: Path) -> Made:
        """All triangles, no smoothing, PLY."""
        return self._model(series, place, smooth_iterations=0, formats=["ply"], min_volume_mm3=0)

    def preview(self, series: Series, place: Path) -> Made:
        """Show a threshold that was moved on the page."""
        target = place / "preview.glb"
        arguments = {**series.arguments, "recipe": _recipe(series), "target": str(target)}
        return self._run(f"{_CHILD}:preview_model", arguments, target)

    def lower_bound(self, series: Series, place: Path) -> Made:
        """Read, one pass, write, nothing else; in the same kind of child."""
        arguments = {"files": series.arguments["images"], "target": str(place / "bound"), "level": LEVEL_HU}
        return self._run("benchmarks.mesh_job:lower_bound", arguments, None)

    def _model(self, series: Series, place: Path, **fields: Json) -> Made:
        recipe = _recipe(series, **fields)
        arguments = {**series.arguments, "recipe": recipe, "place": str(place)}
        kind = recipe["formats"][0]
        return self._run(f"{_CHILD}:make", arguments, place / f"model.{kind}")

    def _run(self, function: str, arguments: dict[str, Json], model: Path | None) -> Made:
        began = time.perf_counter()
        told = self._pool.run(Job(function=function, arguments=arguments))
        seconds = time.perf_counter() - began
        return Made(seconds, told["peak_memory_bytes"] if told else 0, model, told)


def lower_bound(arguments: dict[str, Json], _progress: Progress) -> None:
    """Run in the child: read all bytes, pass once over as many voxels, write a file as large as the surface."""
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D  # noqa: PLC0415 - VTK is for children only

    from pacs.mesh.vtk_arrays import image_of  # noqa: PLC0415

    names = arguments["files"]
    plane = _plane_of(names[0])
    voxels = np.empty((len(names), *plane), "<i2")
    for name, values in zip(names, voxels, strict=True):
        values[:] = np.frombuffer(Path(name).read_bytes()[-values.nbytes :], "<i2").reshape(plane)
    mesher = vtkFlyingEdges3D()
    mesher.SetInputData(image_of(voxels))
    mesher.SetValue(0, arguments["level"] + 0.5)
    mesher.ComputeNormalsOff()
    mesher.Update()
    output = mesher.GetOutput()
    size = 15 * output.GetNumberOfPoints() + 13 * output.GetNumberOfPolys()
    Path(arguments["target"]).write_bytes(bytes(size))


@cache
def _plane_of(name: str) -> tuple[int, int]:
    import pydicom  # noqa: PLC0415 - read once

    header = pydicom.dcmread(name, stop_before_pixels=True)
    return int(header.Rows), int(header.Columns)


def _recipe(series: Series, **fields: Json) -> dict[str, Json]:
    recipe: dict[str, Json] = {
        "parts": [{"name": "bone", "select": {"kind": "window", "low": LEVEL_HU}}],
        "smooth_iterations": 25,
        "formats": ["stl"],
        "min_volume_mm3": 20_000 if series.small_share else 0,
    }
    return recipe | fields


def dicom2stl(series: Series, place: Path) -> Made:
    """Run the command line in a process of its own, full resolution."""
    target = place / "dicom2stl.stl"
    command = [str(Path(sys.executable).parent / "dicom2stl"), "--isovalue", str(LEVEL_HU)]
    command += ["--disable", "shrink", "--clean-small", str(series.small_share), "--smooth", "25", "--reduce", "0.9"]
    command += ["--output", str(target), str(series.folder)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=place)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"dicom2stl ended with {status}.")
    return Made(time.perf_counter() - began, usage.ru_maxrss * 1024, target)


def main() -> None:
    """Measure what the command line names and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="interleaved runs of which the median counts")
    parser.add_argument("--only", action="append", choices=["ph400", "rt199"], help="this series alone")
    parser.add_argument("--phantom", type=Path, help="folder to keep the phantom's DICOM files in")
    parser.add_argument("--without-dicom2stl", action="store_true", help="ours alone, in short")
    options = parser.parse_args()
    # What one of them leaves in its child is not counted as the other's.
    with (
        tempfile.TemporaryDirectory(prefix="pacs-bench-") as name,
        _pool(Path(name) / "scratch") as models,
        _pool(Path(name) / "scratch") as others,
    ):
        for series in _series(options.only or ["ph400", "rt199"], options.phantom or Path(name) / "ph400", Path(name)):
            ours, beside = Ours(models), Ours(others)
            contenders: dict[str, Contender] = {
                "lower bound": beside.lower_bound,
                "ours": ours.reduced,
                "ours, no reduction": ours.full,
                "preview": beside.preview,
            }
            if not options.without_dicom2stl:
                contenders["dicom2stl"] = dicom2stl
            place = Path(name) / f"{series.name}-models"
            place.mkdir(exist_ok=True)
            _print_table(series, _measured(contenders, series, place, options.runs))


def _series(names: list[str], phantom_folder: Path, place: Path) -> Iterator[Series]:
    if "ph400" in names:
        phantom = bone_phantom()
        if not phantom_folder.is_dir():
            phantom.write_dicom(phantom_folder)
        yield Series("ph400", phantom_folder, phantom, 0.0)
    if "rt199" in names and RT199.is_file():
        with tarfile.open(RT199) as archive:
            archive.extractall(place, filter="data")
        yield Series("rt199", place / "rt_ct", None, 0.05)


@contextmanager
def _pool(scratch: Path) -> Iterator[ProcessPool]:
    interpreter = Interpreter(Path(sys.executable), (ROOT / "plugins", ROOT / "tests"))
    policy = PoolPolicy(max_jobs_per_child=1000, idle_seconds=600, preload=(_CHILD,))
    with ProcessPool(interpreter, scratch, limits=Limits(niceness=0), policy=policy) as pool:
        yield pool


def _measured(contenders: dict[str, Contender], series: Series, place: Path, runs: int) -> dict[str, list[Made]]:
    made: dict[str, list[Made]] = defaultdict(list)
    for name, contender in contenders.items():
        if name != "dicom2stl":
            contender(series, place)  # warm
    for run in range(runs):
        for name, contender in contenders.items():
            made[name].append(contender(series, place))
        print(f"{series.name}: run {run + 1} of {runs} done, load {os.getloadavg()[0]:.1f}", flush=True)
    return made


def _print_table(series: Series, made: dict[str, list[Made]]) -> None:
    volume_bytes = sum(file.stat().st_size for file in series.files)
    bound = statistics.median(one.seconds for one in made["lower bound"])
    print(f"\n{series.name}, {volume_bytes / _MEGABYTE:.0f} MB")
    print("| what | s (median, least, most) | / bound | memory MB | triangles | vol % | mean mm | p99 mm | bad edges |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, runs in made.items():
        seconds = [one.seconds for one in runs]
        cells = [f"{statistics.median(seconds):.2f} ({min(seconds):.2f}, {max(seconds):.2f})"]
        cells.append(f"{statistics.median(seconds) / bound:.1f}")
        cells.append(f"{max(one.memory_bytes for one in runs) / 2**20:.0f}")
        print(f"| {name} | {' | '.join(cells + _quality(series, runs[-1]))} |")
    if "dicom2stl" in made:
        ratio = statistics.median(one.seconds for one in made["dicom2stl"])
        ratio /= statistics.median(one.seconds for one in made["ours"])
        print(f"\ndicom2stl / ours: {ratio:.1f} x")
    memory = max(one.memory_bytes for one in made["ours"])
    print(f"memory: {memory / 2**20:.0f} MB, allowed {(1.6 * volume_bytes / 2**20) + 150:.0f} MB\n")
    if (told := made["ours"][-1].told) is not None:
        print("stages of ours:", told["seconds"])


def _quality(series: Series, made: Made) -> list[str]:
    """Return triangles, error of the volume, mean and p99 distance, and bad edges, as cells."""
    if made.model is None or made.model.suffix == ".glb":
        return [""] * 5
    surface = _read(made.model)
    edges = f"{len(bad_edges(surface.triangles))}"
    if series.phantom is None:
        return [str(len(surface.triangles)), f"{volume_and_area(surface)[0] / 1000:.1f} cm3", "", "", edges]
    truth = series.phantom.at_level(LEVEL_HU)
    distances = truth.distance_mm(surface_points(surface, 200_000))
    error = volume_and_area(surface)[0] / truth.volume_mm3 - 1
    cells = [str(len(surface.triangles)), f"{error:+.3%}", f"{distances.mean():.4f}"]
    return [*cells, f"{np.quantile(distances, 0.99):.3f}", edges]


def _read(path: Path) -> Surface:
    """Read a model as others do: STL with its vertices joined by their coordinates."""
    import trimesh  # noqa: PLC0415 - slow to import, and not for the child

    read = trimesh.load(path, process=path.suffix == ".stl")
    points: NDArray[np.float32] = np.asarray(read.vertices, np.float32)
    return Surface(points, np.asarray(read.faces, np.int32))


if __name__ == "__main__":
    # Children import this module by its name, not as the program.
    assert threading.current_thread() is threading.main_thread()
    main()

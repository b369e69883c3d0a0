"""The demo studies, and small series of the same making for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta

from pydicom.dataset import Dataset

from pacs.demo import ultrasound
from pacs.demo.attributes import CharacterSet, Patient, Series, Sex, Study
from pacs.demo.canvas import Grid
from pacs.demo.geometry import SliceStack
from pacs.demo.head import T1_WEIGHTED, T2_WEIGHTED, Contrast, scan_head
from pacs.demo.instances import MrSequence, Projection, UltrasoundRegion, cr_image, ct_image, mr_image, ultrasound_loop
from pacs.demo.pixels import Photometric
from pacs.demo.radiograph import PIXEL_MM, chest_radiographs
from pacs.demo.syntaxes import in_jpeg_baseline
from pacs.demo.trunk import scan_trunk

INIGO = Patient("DEMO-0001", "Muñoz Ejemplo^Íñigo", date(1961, 5, 17), Sex.MALE, CharacterSet.LATIN_1)
JOAO = Patient("DEMO-0002", "Conceição Exemplo^João", date(1974, 11, 3), Sex.MALE, CharacterSet.UTF_8)
INES = Patient("DEMO-0003", "Gonçalves Exemplo^Inês", date(1988, 2, 29), Sex.FEMALE, CharacterSet.UTF_8)

# The trunk phantom in a field of view of 400 mm, feet first.
CT_GRID = Grid((-199.609375, -185.609375, 0.0), (0.78125, 0.78125, 3.0), (512, 512, 160))
MR_GRID = Grid((-119.53125, -121.53125, -78.0), (0.9375, 0.9375, 4.0), (256, 256, 40))
MR_TILT_DEGREES = -8.0
MR_SLICE_THICKNESS_MM = 3.6


@dataclass(frozen=True)
class DemoStudy:
    """One study of the demo: what it is, and how its instances are made."""

    name: str
    study: Study
    make: Callable[[Study], Iterator[Dataset]]

    def instances(self) -> Iterator[Dataset]:
        """Yield the instances one by one; making starts with the first."""
        return self.make(self.study)


def demo_studies(today: date) -> tuple[DemoStudy, ...]:
    """Return the demo's studies, dated some days up to `today`; their UIDs do not depend on it."""

    def day(before: int) -> date:
        return today - timedelta(days=before)

    ct = _study(INIGO, "CT", day(0), time(10, 5), "TC de tórax y abdomen con contraste")
    mr = _study(JOAO, "MR", day(1), time(16, 40), "RM do crânio sem contraste")
    us = _study(INES, "US", day(3), time(11, 20), "Ecocardiograma transtorácico")
    cr = _study(INIGO, "CR", day(21), time(8, 55), "Radiografía de tórax, 2 proyecciones")
    return DemoStudy("CT", ct, _ct), DemoStudy("MR", mr, _mr), DemoStudy("US", us, _us), DemoStudy("CR", cr, _cr)


def _study(patient: Patient, name: str, day: date, moment: time, description: str) -> Study:
    portuguese = patient is not INIGO
    return Study(
        patient=patient,
        key=f"demo {name}",
        date=day,
        time=moment,
        description=description,
        accession_number=f"DEMO-{name}-001",
        study_id=f"DEMO-{name}",
        referring_physician="Assunção Exemplo^Lúcia" if portuguese else "Ibáñez Ejemplo^Begoña",
        institution_name="Hospital de Demonstração" if portuguese else "Hospital de Demostración",
    )


def _ct(study: Study) -> Iterator[Dataset]:
    series = Series(study, "CT", 2, "Tórax-abdomen 3 mm, fase portal", "CHESTABDOMEN", "TAP con contraste")
    for instance in ct_slices(series, CT_GRID):
        instance.ContrastBolusAgent = "Contraste yodado 300 mg/ml (simulado)"
        yield instance


def ct_slices(series: Series, grid: Grid) -> Iterator[Dataset]:
    """Scan the trunk phantom on `grid` and yield the slices, from feet to head."""
    stack = SliceStack.of_grid(grid)
    for index, hounsfield in enumerate(scan_trunk(grid)):
        yield ct_image(series, stack, index, hounsfield)


def ct_series(
    study: Study | None = None,
    *,
    slices: int = 5,
    size: int = 64,
    number: int = 1,
    slice_spacing_mm: float = 5.0,
    lowest_z: float = 140.0,
) -> list[Dataset]:
    """Make a small CT series of the trunk phantom, `size` by `size` pixels over 400 mm, for tests.

    Parameters
    ----------
    number : SeriesNumber, from which the series' UID is derived.
    lowest_z : height of the first slice; kidneys and liver are at the default.
    """
    spacing = 400 / size
    first = (spacing - 400) / 2, (spacing - 400) / 2 + 14, lowest_z
    grid = Grid(first, (spacing, spacing, slice_spacing_mm), (size, size, slices))
    series = Series(study or Study(), "CT", number, "Serie de prueba", "ABDOMEN")
    return list(ct_slices(series, grid))


def _mr(study: Study) -> Iterator[Dataset]:
    t1 = Series(study, "MR", 2, "Axial T1 SE", "BRAIN", "Crânio rotina")
    yield from _mr_series(t1, T1_WEIGHTED, MrSequence("SE", 480, 11, 1))
    t2 = Series(study, "MR", 3, "Axial T2 TSE", "BRAIN", "Crânio rotina")
    yield from _mr_series(t2, T2_WEIGHTED, MrSequence("SE", 4200, 98, 15))


def _mr_series(series: Series, contrast: Contrast, sequence: MrSequence) -> Iterator[Dataset]:
    stack = SliceStack.of_grid(MR_GRID, tilt_degrees=MR_TILT_DEGREES, slice_thickness_mm=MR_SLICE_THICKNESS_MM)
    for index, signal in enumerate(scan_head(MR_GRID, contrast, seed=100 * series.number)):
        yield mr_image(series, stack, index, signal, sequence)


def _cr(study: Study) -> Iterator[Dataset]:
    series = Series(study, "CR", 1, "Tórax PA y lateral", "CHEST", "Tórax")
    plates = chest_radiographs()
    front, side = Projection("PA", ("L", "F")), Projection("LL", ("P", "F"))
    yield cr_image(series, 1, plates.postero_anterior, front, pixel_mm=PIXEL_MM, photometric=Photometric.MONOCHROME1)
    yield cr_image(series, 2, plates.left_lateral, side, pixel_mm=PIXEL_MM)


def _us(study: Study) -> Iterator[Dataset]:
    series = Series(study, "US", 1, "Apical 4 câmaras, Doppler a cores", "HEART", "Eco adulto")
    x, y = ultrasound.PROBE
    reach = int(ultrasound.DEPTH_CM * ultrasound.PIXELS_PER_CM)
    half = int(reach * 0.66)
    region = UltrasoundRegion((x - half, y, x + half, y + reach), (half, 0), 1 / ultrasound.PIXELS_PER_CM)
    frames = ultrasound.echo_loop()
    loop = ultrasound_loop(series, 1, frames, region, frame_time_ms=ultrasound.FRAME_TIME_MS)
    yield in_jpeg_baseline(loop)

"""A beating heart as an echocardiograph shows it: four chambers from the apex, with color Doppler and an ECG trace.

Places in the sector are centimeters: x to the right of the picture, depth away from the probe.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pacs.demo.canvas import Array

ROWS, COLUMNS = 480, 640
FRAME_TIME_MS = 41.67
DEPTH_CM = 16.0
PIXELS_PER_CM = 25.0
# The probe's place, in pixels: x, y.
PROBE = (320, 34)
HALF_ANGLE_DEGREES = 41.0
_FRAMES_PER_BEAT = 24
_SAMPLES, _BEAMS = 360, 190
_VALVE_DEPTH_CM = 9.7
_MOSTLY = 0.6
_DOPPLER_BOX = (-0.6, 3.9, 5.4, 12.6)


@dataclass(frozen=True)
class _Beat:
    """The heart's state at one moment of its beat, `phase` from 0 to 1."""

    phase: float

    @property
    def squeeze(self) -> float:
        """How far the ventricles are contracted, 0 to 1."""
        return float(np.sin(np.pi * np.clip(self.phase / 0.62, 0, 1)) ** 1.5)

    @property
    def opening(self) -> float:
        """How far the valves of the atria are open, 0 to about 1: an early and a late wave."""
        early = np.exp(-(((self.phase - 0.70) / 0.07) ** 2))
        late = 0.7 * np.exp(-(((self.phase - 0.93) / 0.05) ** 2))
        return float(early + late)


def echo_loop(frames: int = 2 * _FRAMES_PER_BEAT) -> NDArray[np.uint8]:
    """Return the loop's frames, shape (frames, rows, columns, 3), RGB; a beat takes 24 of them, one second."""
    scanner = _Scanner()
    with ThreadPoolExecutor(2) as pool:
        return np.stack(list(pool.map(scanner.picture, range(frames))))


class _Scanner:
    """Draws pictures of the loop; keeps what all of them share."""

    def __init__(self) -> None:
        random = np.random.default_rng(404)
        self._speckle = [_speckle(random) for _ in range(3)]
        radius = np.linspace(0.05, DEPTH_CM, _SAMPLES, dtype=np.float32)[:, None]
        angle = np.radians(np.linspace(-HALF_ANGLE_DEGREES, HALF_ANGLE_DEGREES, _BEAMS, dtype=np.float32))[None, :]
        self._x, self._depth, self._radius = radius * np.sin(angle), radius * np.cos(angle), radius
        self._sector, self._source = _scan_conversion()
        self._frame_work = _frame_work()

    def picture(self, number: int) -> NDArray[np.uint8]:
        """Return frame `number`, shape (rows, columns, 3)."""
        beat = _Beat(number % _FRAMES_PER_BEAT / _FRAMES_PER_BEAT)
        echo, blood = self._echo(beat, number)
        flow = self._flow(beat, blood)
        gray = np.clip(echo, 0, 1) ** np.float32(0.6) * 235
        colors = np.repeat(gray[..., None], 3, axis=2)
        shown = np.abs(flow) > np.float32(0.16)
        colors[shown] = _doppler_colors(flow[shown])
        picture = self._frame_work.copy()
        picture[self._sector] = colors.reshape(-1, 3)[self._source].astype(np.uint8)
        return _with_trace(picture, number)

    def _echo(self, beat: _Beat, number: int) -> tuple[Array, Array]:
        """Return echo strength and how much of each place is blood, both in the probe's own polar raster."""
        # The base of the heart moves toward the apex in systole: everything is drawn in coordinates that follow it.
        depth = self._depth + np.float32(0.9 * beat.squeeze) * _ramp(self._depth, 2, 8)
        heart = _ellipse(self._x, depth, (0.1, 7.7), (4.7 - 0.25 * beat.squeeze, 7.0))
        tissue = np.where(heart < 0, np.float32(0.32), np.float32(0.09))
        tissue = tissue + np.float32(0.55) * np.exp(-((heart / np.float32(0.16)) ** 2))
        chambers = self._chambers(beat, depth)
        blood = np.clip(np.float32(0.5) - chambers / np.float32(0.12), 0, 1)
        tissue = tissue + np.float32(0.16) * np.exp(-((chambers / np.float32(0.2)) ** 2))
        echo = tissue * (1 - blood) + np.float32(0.012) * blood
        echo = np.maximum(echo, self._leaflets(beat, depth))
        # The wall's grain moves with the wall, the blood's changes with every frame.
        wall = np.roll(self._speckle[0], -round(14 * beat.squeeze), axis=0)
        stream = np.roll(self._speckle[1], number * 37, axis=0)
        echo = echo * (wall * (1 - blood) + stream * blood)
        noise = np.roll(self._speckle[2], number * 53, axis=0) * (self._radius / DEPTH_CM) ** 2
        gain = np.exp(-(((self._radius - 7) / np.float32(9)) ** 2))
        return echo * gain + np.float32(0.012) * noise, blood

    def _chambers(self, beat: _Beat, depth: Array) -> Array:
        """Distance to the nearest chamber or valve ring; the ventricles shrink while the atria fill."""
        thin, short = 1 - 0.36 * beat.squeeze, 1 - 0.13 * beat.squeeze
        full = 1 + 0.12 * beat.squeeze
        left = _ellipse(self._x, depth, (1.75, 6.1), (1.75 * thin, 3.7 * short))
        right = _ellipse(self._x + (depth - 6.8) * np.float32(0.22), depth, (-1.95, 6.9), (1.15 * thin, 2.9 * short))
        left_atrium = _ellipse(self._x, depth, (1.75, 11.9), (1.85 * full, 1.75 * full))
        right_atrium = _ellipse(self._x, depth, (-1.95, 11.8), (1.7 * full, 1.75 * full))
        mitral = _ellipse(self._x, depth, (1.75, 9.9), (1.3, 1.1))
        tricuspid = _ellipse(self._x, depth, (-1.95, 9.8), (1.1, 1.0))
        left, right = np.minimum(left, mitral), np.minimum(right, tricuspid)
        return np.minimum(np.minimum(left, right), np.minimum(left_atrium, right_atrium))

    def _leaflets(self, beat: _Beat, depth: Array) -> Array:
        """Echoes of the mitral and tricuspid leaflets, hinged at the ring and open toward the ventricles."""
        echo = np.zeros_like(self._x)
        swing = np.radians(12 + 62 * min(beat.opening, 1.0))
        for hinge, direction, length in ((0.25, 1, 1.5), (3.25, -1, 1.4), (-3.3, 1, 1.3), (-0.55, -1, 1.2)):
            across, up = direction * np.cos(swing), -np.sin(swing)
            x, y = self._x - np.float32(hinge), depth - np.float32(9.9)
            along = np.clip(x * np.float32(across) + y * np.float32(up), 0, length)
            apart = np.hypot(x - along * np.float32(across), y - along * np.float32(up))
            echo = np.maximum(echo, np.float32(0.8) * np.exp(-((apart / np.float32(0.11)) ** 2)))
        return echo

    def _flow(self, beat: _Beat, blood: Array) -> Array:
        """Velocity toward the probe from -1 to 1, inside of the color box and of the blood."""
        left, right, top, bottom = _DOPPLER_BOX
        inside = (self._x > left) & (self._x < right) & (self._depth > top) & (self._depth < bottom)
        jet = np.exp(-(((self._x - np.float32(1.75)) / np.float32(0.85)) ** 2))
        jet = jet * np.exp(-(((self._depth - np.float32(8.6)) / np.float32(2.6)) ** 2))
        outflow = np.exp(-(((self._x - np.float32(0.75)) / np.float32(0.6)) ** 2))
        outflow = outflow * _ramp(self._depth, 5.4, 3) * (self._depth < _VALVE_DEPTH_CM)
        grain = np.float32(0.85) + np.float32(0.1) * self._speckle[2]
        velocity = jet * np.float32(beat.opening) - outflow * np.float32(0.9 * beat.squeeze)
        flow: Array = (velocity * inside * (blood > _MOSTLY) * grain).astype(np.float32)
        return flow


def _ramp(depth: Array, start_cm: float, length_cm: float) -> Array:
    """Return 0 up to `start_cm`, then rising to 1 over `length_cm`."""
    ramp: Array = np.clip((depth - np.float32(start_cm)) / np.float32(length_cm), 0, 1)
    return ramp


def _ellipse(x: Array, depth: Array, center: tuple[float, float], radii: tuple[float, float]) -> Array:
    across, along = (x - np.float32(center[0])) / radii[0], (depth - np.float32(center[1])) / radii[1]
    distance: Array = ((np.hypot(across, along) - 1) * np.float32(min(radii))).astype(np.float32)
    return distance


def _speckle(random: np.random.Generator) -> Array:
    """Return fully developed speckle with mean 1, shape (samples, beams): fine along the beam, coarse across."""
    parts = []
    for _ in range(2):
        part = random.standard_normal((_SAMPLES, _BEAMS), np.float32)
        for axis, times in ((0, 2), (1, 3)):
            for _ in range(times):
                part = part + np.float32(0.7) * (np.roll(part, 1, axis) + np.roll(part, -1, axis))
        parts.append(part)
    amplitude = np.hypot(*parts)
    return (amplitude / amplitude.mean()).astype(np.float32)


def _scan_conversion() -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return which pixels lie in the sector, shape (rows, columns), and the polar sample that each of them shows."""
    y, x = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float32)
    x, y = (x - PROBE[0]) / np.float32(PIXELS_PER_CM), (y - PROBE[1]) / np.float32(PIXELS_PER_CM)
    radius, angle = np.hypot(x, y), np.degrees(np.arctan2(x, y))
    sector = (radius < DEPTH_CM) & (np.abs(angle) < HALF_ANGLE_DEGREES)
    samples = (radius[sector] / DEPTH_CM * (_SAMPLES - 1)).astype(np.intp)
    beams = ((angle[sector] / HALF_ANGLE_DEGREES + 1) / 2 * (_BEAMS - 1)).round().astype(np.intp)
    return sector, samples * _BEAMS + beams


def _doppler_colors(flow: Array) -> NDArray[np.float32]:
    """Return red to yellow for flow toward the probe, blue to cyan for flow away from it, shape (..., 3)."""
    speed = np.clip(np.abs(flow), 0, 1)
    strong, bright = 110 + 145 * np.sqrt(speed), 220 * np.clip(speed - np.float32(0.35), 0, 1)
    nothing = np.zeros_like(speed)
    toward = np.stack((strong, bright, nothing), axis=-1)
    away = np.stack((nothing, bright, strong), axis=-1)
    return np.where((flow > 0)[..., None], toward, away).astype(np.float32)


def _frame_work() -> NDArray[np.uint8]:
    """Return what surrounds the sector: scales, texts, color bar, shape (rows, columns, 3)."""
    image = Image.new("RGB", (COLUMNS, ROWS))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default()
    draw.text((10, 8), "DEMO - PACIENTE FICTICIO", fill=(230, 230, 230), font=font)
    draw.text((10, 24), "Apical 4C   S5-1   24 Hz   16 cm", fill=(150, 150, 150), font=font)
    for depth in range(int(DEPTH_CM) + 1):
        y = PROBE[1] + depth * PIXELS_PER_CM
        draw.line((628 - (10 if depth % 5 == 0 else 5), y, 628, y), fill=(190, 190, 190))
    bar = np.linspace(1, -1, 120, dtype=np.float32)
    for offset, color in enumerate(_doppler_colors(bar)):
        draw.line((596, 60 + offset, 606, 60 + offset), fill=tuple(int(part) for part in color))
    draw.text((590, 46), "+62", fill=(190, 190, 190), font=font)
    draw.text((590, 182), "-62 cm/s", fill=(190, 190, 190), font=font)
    return np.asarray(image)


def _with_trace(picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Draw the color box and the ECG, with the cursor at frame `number`."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    left, right, top, bottom = (value * PIXELS_PER_CM for value in _DOPPLER_BOX)
    x, y = PROBE
    draw.rectangle((x + left, y + top, x + right, y + bottom), outline=(70, 150, 90))
    beats = np.linspace(0, 2, 200)
    heights = 452 - 22 * _electrocardiogram(beats % 1)
    places = np.linspace(30, 230, 200)
    draw.line([(float(px), float(py)) for px, py in zip(places, heights, strict=True)], fill=(60, 220, 90))
    cursor = 30 + 100 * (number % (2 * _FRAMES_PER_BEAT)) / _FRAMES_PER_BEAT
    draw.line((cursor, 424, cursor, 462), fill=(240, 90, 60))
    return np.asarray(image)


def _electrocardiogram(phase: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return P, QRS and T as sums of bells; the R wave is at phase 0.04."""
    bells = ((0.88, 0.12, 0.025), (0.02, -0.12, 0.008), (0.04, 1.0, 0.012), (0.065, -0.22, 0.01), (0.32, 0.24, 0.045))
    return sum((height * np.exp(-(((phase - at) / width) ** 2)) for at, height, width in bells), np.zeros_like(phase))

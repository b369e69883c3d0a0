"""Arrays of NumPy as objects of VTK and back. VTK's own helpers carry no types, so they are called here only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData

_to_vtk: Callable[..., Any] = numpy_support.numpy_to_vtk
_to_vtk_ids: Callable[..., Any] = numpy_support.numpy_to_vtkIdTypeArray
_to_numpy: Callable[..., NDArray[Any]] = numpy_support.vtk_to_numpy


def image_of(values: NDArray[Any]) -> vtkImageData:
    """Return `values` (slices, rows, columns), C order, as an image without copying: it must not outlive them."""
    image = vtkImageData()
    image.SetDimensions(*values.shape[::-1])
    image.GetPointData().SetScalars(_to_vtk(values.reshape(-1), deep=0))
    return image


def arrays_of(data: vtkPolyData) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return copies of the points (n, 3) and of the corners of the triangles (n, 3)."""
    if not data.GetNumberOfPolys():
        return np.empty((0, 3), np.float32), np.empty((0, 3), np.int32)
    corners = _to_numpy(data.GetPolys().GetConnectivityArray())
    points = _to_numpy(data.GetPoints().GetData())
    return points.astype(np.float32), corners.astype(np.int32).reshape(-1, 3)


def poly_data_of(points: NDArray[np.float32], triangles: NDArray[np.int32]) -> vtkPolyData:
    """Return a copy of the triangles."""
    data = vtkPolyData()
    vertices = vtkPoints()
    vertices.SetData(_to_vtk(points, deep=1))
    data.SetPoints(vertices)
    cells = vtkCellArray()
    cells.SetData(3, _to_vtk_ids(triangles.astype(np.int64).reshape(-1), deep=1))
    data.SetPolys(cells)
    return data

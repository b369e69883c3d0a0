"""3D export: from a CT or MR series to a checked model as STL, PLY, OBJ, GLB or 3MF. Arrays in, files out.

`reading` makes a `Volume` of the files of a series, `segmentation` masks of DICOM SEG and RTSTRUCT, the modules beside
them surfaces of a volume or mask and files of surfaces. None of it runs in Orthanc's process: `pacs.processes` starts
it in children, and `jobs` sees to them.
"""

"""From DICOM files to one volume in patient coordinates, or a refusal that names the instance at fault."""

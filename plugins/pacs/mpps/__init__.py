"""Modality performed procedure steps: what modalities report of their work, and what follows (DICOM PS3.4 F)."""

"""The modality worklist: scheduled procedure steps, what changes them, and what modalities are answered."""

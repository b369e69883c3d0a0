"""What was decided for studies, and why: the first half of a study's journey."""

"""The archive tries each of its own functions with an image of nobody, and removes it: `python -m pacs.selftest`."""

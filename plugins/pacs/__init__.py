"""PACS Cloud's core: pure Python, free of Orthanc's embedded module, testable anywhere."""

__version__ = "0.1.0"

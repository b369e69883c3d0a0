"""Faults of Debian's C libraries that end Orthanc's process, put right from within it when the plugins are loaded."""

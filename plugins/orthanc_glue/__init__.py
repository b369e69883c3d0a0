"""The glue between Orthanc's embedded module and the core: decodes, calls the core, encodes. No medicine here.

Only this package and pacs_entry.py import `orthanc`; the classes here take the module as an argument, so that one
entry script decides, and they can be read without Orthanc.
"""

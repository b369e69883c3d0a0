"""What is looked at before Orthanc may store it: ZIP files that unpack to more than we can hold, images that end a decoder."""

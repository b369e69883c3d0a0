"""The monthly report for those who run the hospital: counted, compared, written as HTML and PDF."""

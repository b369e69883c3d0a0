"""What the archive tells of itself: figures, the golden signal, the monthly report."""

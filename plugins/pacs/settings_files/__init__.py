"""Files of settings that people write: read with their lines, and all that is wrong with them told at once."""

"""Priors of a patient, brought to where they will be read: from this archive or from another one."""

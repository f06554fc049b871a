"""PURE: what the doctor concludes from what it read."""

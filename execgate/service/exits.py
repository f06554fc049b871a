"""Exit statuses of every command (docs/cli.md has the table)."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INCOMPLETE = 97
EXIT_INVALID = 98
EXIT_BROKEN = 99
"""Of `loadgen run`: what was measured is no answer, may not be believed, or breaks a requirement."""

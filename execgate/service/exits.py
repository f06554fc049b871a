"""Exit statuses of every command (docs/cli.md has the table)."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

"""What the command line reads and shows: flags, progress on stderr, results on stdout, exit codes."""

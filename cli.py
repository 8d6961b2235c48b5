"""The command line: parse, call the api, render; nothing else (edit here; imports as autotune.cli)."""


def main() -> None:
    """Entry point of `autotune`."""

"""The commands of `autotune`, those that belong together in one file; `cli.py` registers them.

A command parses, calls the api and renders. What it needs for that is imported inside: `--help` loads nothing heavy.
"""

"""Prints the committed results as Markdown.

python benchmarks/table.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from common import RESULTS


def lines(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from lines(inner, f"{prefix} {key}".strip())
    elif isinstance(value, float):
        yield f"| {prefix} | {value:,.4g} |"
    elif isinstance(value, (int, str)) and not isinstance(value, bool):
        yield f"| {prefix} | {value} |"


def main() -> None:
    for path in sorted(RESULTS.glob("*.json")):
        data = json.loads(path.read_text())
        facts = data["environment"]
        print(f"## {path.stem}\n")
        print(f"`{data['command']}`, {data['date']}, {facts['machine']}, {facts['cores']} cores, {facts['runtime']}\n")
        print("| figure | value |\n|---|---|")
        print("\n".join(lines(data["summary"] or data["results"])), "\n")


if __name__ == "__main__":
    main()

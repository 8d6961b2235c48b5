"""What libraries say, in one line that a user can read."""

from __future__ import annotations

import re

MESSAGE_CHARACTERS = 400
_SIGNATURE = r"(?:[^()]*::[^()]*\([^()]*\)(?: const)? )?"


def one_line(error: BaseException | str) -> str:
    """A provider's message without C++ signatures, source paths and temporary files."""
    text = " ".join(str(error).split())
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : (\w+) : ", r"\1: ", text)
    text = re.sub(r"Load model from \S+ failed: ?", "", text)
    text = re.sub(rf"(Exception from )?\S*/\S+\.(cc|cpp|h|hpp):\d+:? ?{_SIGNATURE}", "", text)
    if "[OpenVINO-EP]" in text:
        text = text.rpartition("[OpenVINO-EP]")[2].strip()
    return text if len(text) <= MESSAGE_CHARACTERS else text[: MESSAGE_CHARACTERS - 1] + "…"

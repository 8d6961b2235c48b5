"""Providers found here, lanes, session options, what each supports."""

from autotune.processors.assignment import ProviderShare, assignment, supports
from autotune.processors.cores import allowed_cores, share_out, spread
from autotune.processors.device import this_device
from autotune.processors.discovery import discover
from autotune.processors.found import BrokenProvider, Discovery
from autotune.processors.lanes import lanes_of
from autotune.processors.narrow import ort_value
from autotune.processors.options import session_options
from autotune.processors.policies import create_policy_session, policies, policy_choices
from autotune.processors.resolving import resolve
from autotune.processors.sessions import create_session
from autotune.processors.spec import SessionSpec

__all__ = [
    "BrokenProvider",
    "Discovery",
    "ProviderShare",
    "SessionSpec",
    "allowed_cores",
    "assignment",
    "create_policy_session",
    "create_session",
    "discover",
    "lanes_of",
    "ort_value",
    "policies",
    "policy_choices",
    "resolve",
    "session_options",
    "share_out",
    "spread",
    "supports",
    "this_device",
]

"""MLflow runs, registered predictors and the UI: observes a search, is never called by it.

Edit here (`tracking/`); imports as `autotune.tracking`; holds code, not data. MLflow is imported in a background
thread, when the first event is written.
"""

from autotune.tracking.destination import Destination, destination_of
from autotune.tracking.observer import MlflowObserver
from autotune.tracking.replay import replay_spool
from autotune.tracking.ui import UiServer, serve_ui

__all__ = ["Destination", "MlflowObserver", "UiServer", "destination_of", "replay_spool", "serve_ui"]

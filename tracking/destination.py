"""Where runs are written, and a client for it that fails fast and stays quiet."""

from __future__ import annotations

import logging
import os
import ssl
import tempfile
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

ANSWER_TIMEOUT_S = 3.0
_HTTP_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""MLflow would wait two minutes and try seven times; what cannot be written here is spooled instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A tracking store.

    Args:
        uri: MLflow's tracking URI.
        artifacts: where files of new experiments go, as a URI; empty leaves it to the server.
    """

    uri: str
    artifacts: str = ""

    @property
    def is_server(self) -> bool:
        """Whether a tracking server is asked, instead of a data base or a folder."""
        return self.uri.startswith(("http://", "https://", "databricks", "uc:"))


def destination_of(home: Path) -> Destination:
    """`MLFLOW_TRACKING_URI` where it is set, else a SQLite file in the home folder."""
    local = home.absolute()
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or f"sqlite:///{(local / 'mlflow.db').as_posix()}"
    destination = Destination(uri=uri)
    return destination if destination.is_server else Destination(uri=uri, artifacts=(local / "mlartifacts").as_uri())


def prepare_environment() -> None:
    """Turns MLflow's telemetry off and shortens its time-outs where the user set none; before it is imported."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name, value in _HTTP_DEFAULTS.items():
        os.environ.setdefault(name, value)


def connect(destination: Destination) -> Any:
    """An `MlflowClient` for the destination; makes the data base where there is none.

    Raises:
        ConnectionError: nothing answers at the server's address.
        Exception: whatever MLflow raises.
    """
    check_reachable(destination)
    prepare_environment()
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # "Updating database tables"
    _make_whole(destination)
    return MlflowClient(tracking_uri=destination.uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI"))


def _make_whole(destination: Destination) -> None:
    """Makes a new SQLite file under another name first.

    MLflow's migrations are not one transaction: cut short, by a full disk or a kill, they leave a file that no later
    MLflow can open ("table spans already exists").
    """
    path = Path(destination.uri.removeprefix("sqlite:///"))
    if not destination.uri.startswith("sqlite:///") or path.exists() or not path.parent.is_dir():
        return
    from mlflow.tracking import MlflowClient

    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent, ignore_cleanup_errors=True) as draft:
        made = Path(draft) / path.name
        MlflowClient(tracking_uri=f"sqlite:///{made.as_posix()}").search_experiments(max_results=1)
        try:
            os.link(made, path)
        except FileExistsError:
            return  # another process was first
        except OSError:
            made.replace(path)  # a file system without links


def check_reachable(destination: Destination) -> None:
    """Asks an HTTP server for anything, to find out in a moment what MLflow would need its long time-outs for.

    Raises:
        ConnectionError: nothing answers: it is down, or takes connections and hangs.
    """
    parts = urlsplit(destination.uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return
    if parts.scheme in getproxies() and not proxy_bypass(parts.hostname):
        return  # only the proxy can reach it
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    make = HTTPSConnection if secure else HTTPConnection
    connection = make(parts.hostname, port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/health")
        connection.getresponse()  # whatever it answers: MLflow knows what it means
    except ssl.SSLError:
        return  # somebody is there; which certificates to trust is MLflow's setting
    except OSError as error:
        raise ConnectionError(f"no answer from {parts.hostname}:{port} ({error})") from error
    except HTTPException:
        return
    finally:
        connection.close()


def is_unreachable(error: BaseException) -> bool:
    """Whether an error says that the store cannot be reached now, rather than that it refuses what was written."""
    from requests.exceptions import RequestException
    from sqlalchemy.exc import OperationalError

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (ConnectionError, TimeoutError, RequestException, OperationalError)):
            return True
        status = getattr(seen, "get_http_status_code", None)
        if callable(status) and status() in (429, 502, 503, 504):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def unusable(destination: Destination, error: Exception) -> str:
    """Says that a store cannot be used; the same text whatever was to be written, so that it is said once."""
    return f"{destination.uri} cannot be used now ({one_line(error)}); the next search logs what it lacks"


def one_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"

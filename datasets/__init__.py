"""Profile records (edit here; imports as autotune.datasets; holds code, not data): store, synthetic kernels, Parquet.

The folder lies at the top level and `autotune/datasets` is a committed link to it. The records themselves live in the
home folder (`home()`), never here.
"""

from autotune.datasets.around import kernels_around
from autotune.datasets.cards import PARQUET_SCHEMA_VERSION
from autotune.datasets.columns import ProfileColumns
from autotune.datasets.drawn import DRAWN, Drawn, architecture
from autotune.datasets.home import home
from autotune.datasets.incoming import RefusedRow
from autotune.datasets.parquet import ImportReport, export_parquet, import_parquet
from autotune.datasets.schema import STORE_SCHEMA_VERSION
from autotune.datasets.store import Store
from autotune.datasets.synthetic import synthetic_kernels

__all__ = [
    "DRAWN",
    "PARQUET_SCHEMA_VERSION",
    "STORE_SCHEMA_VERSION",
    "Drawn",
    "ImportReport",
    "ProfileColumns",
    "RefusedRow",
    "Store",
    "architecture",
    "export_parquet",
    "home",
    "import_parquet",
    "kernels_around",
    "synthetic_kernels",
]

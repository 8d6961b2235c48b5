"""own device (being written)."""
import argparse, json
from pathlib import Path
from autotune import models
from autotune.datasets import rows
from autotune.core import Kernel
from own_records import measure

p = argparse.ArgumentParser()
p.add_argument("part")
p.add_argument("--home")
p.add_argument("--minutes", type=float, default=10)
p.add_argument("--models", default=",".join(models.names()))
p.add_argument("--no-whole", action="store_true")
p.add_argument("--synthetic", default="")
f = p.parse_args()
from autotune.core.codec import decode
S = [rows.kernel_of(t) for t in json.loads(Path(f.synthetic).read_text())] if f.synthetic else []
measure(Path(f.home), minutes=f.minutes, synthetic=S, again=f.part == "retest", whole=not f.no_whole, names=f.models.split(","))

"""Coverage-guided fuzzing with atheris, which is no dependency of ours: `.ci/fuzz` brings it along.

    python tests/fuzz/coverage_guided.py protocol --seconds 150

What crashes is kept in tests/fixtures-fuzz/<target>/, where the tests find it; the corpus is in a temporary folder.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=150)
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    atheris: Any = importlib.import_module("atheris")
    sys.path[:0] = [str(HERE), str(HERE.parent.parent)]
    with atheris.instrument_imports(include=["asyncflow"]):
        targets = importlib.import_module("fuzz_targets")
    if options.target not in targets.TARGETS:
        parser.error(f"the target is one of {', '.join(targets.TARGETS)}")
    crashes = HERE.parent / "fixtures-fuzz" / options.target
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix="asyncflow-fuzz-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in targets.seeds(options.target):
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    crashes.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={options.seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={crashes}/", str(corpus)], targets.TARGETS[options.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

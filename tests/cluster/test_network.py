"""The long form only: a worker behind a network that is cut for real, first from the engine, then from the service."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from cluster_network import CABLES, CUT, obstacle, play_cut, summary

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

# Where no network can be cut the summary of the run says so, see conftest.py.
if os.environ.get("ASYNCFLOW_LONG") and not obstacle():

    @pytest.mark.asyncio
    @pytest.mark.parametrize("kind", CABLES)
    async def test_a_cut_network_costs_time_and_nothing_else(
        kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cut = await play_cut(kind, tmp_path, "test")
        with capsys.disabled():
            sys.stdout.write(f"\n{summary(kind, [cut])}\n")
        assert (cut.outcome.lost, cut.outcome.doubled, cut.outcome.overlaps) == (0, 0, 0)
        assert cut.outcome.taken_over
        assert cut.back < CUT

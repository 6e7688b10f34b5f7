"""A few seconds of the fuzzer, so that it cannot rot; what it is for needs minutes and new seeds: ``make fuzz``."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.run import ATTACKERS, fuzz

SECONDS = 8.0
SEED = "short"  # always the same, as all draws of the tests: a change is told from bad luck


async def test_a_server_under_attack_lives_leaks_nothing_and_does_its_work(tmp_path: Path) -> None:
    report = await fuzz(SEED, SECONDS, tmp_path / "findings", ATTACKERS)
    kept = "\n".join(path.read_text()[:2000] for path in sorted((tmp_path / "findings").glob("*.txt")))
    assert not report.book.found, f"{report}\n{kept}"
    assert set(report.book.sent) >= set(ATTACKERS)
    assert report.canary_s

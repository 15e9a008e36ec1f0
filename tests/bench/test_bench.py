"""Each benchmark works on small sizes, where its figures mean nothing."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from tests.bench import traced
from tests.bench.__main__ import NAMES, run
from tests.bench.figures import PAGE, Table, distribution, percentile, write

pytestmark = pytest.mark.alone


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_works_on_small_sizes(name: str) -> None:
    for table in run(name, small=True):
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.head)}


@pytest.mark.parametrize("name", NAMES)
def test_performance_page_has_markers_for_its_tables(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    write(name, [Table("A title", ("what", "how much"), (("this", "1 ms"),))], "a machine", page)
    assert "**A title**\n\n| what | how much |\n| --- | ---: |\n| this | 1 ms |" in page.read_text()
    before, after = (text.splitlines() for text in (PAGE.read_text(), page.read_text()))
    assert after[0] == before[0]
    assert after[-1] == before[-1]


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 50) == 51
    assert percentile(values, 90) == 91
    assert distribution([0.001]) == ("1.0 ms", "1.0 ms", "1.0 ms")


def test_every_traced_method_exists() -> None:
    process = multiprocessing.get_context("fork").Process(
        target=traced.install, args=(lambda *_: None,)
    )
    process.start()
    process.join()
    assert process.exitcode == 0

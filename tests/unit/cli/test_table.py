from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cuberouted.cli.table import GAP, MIN_CUT, Column, fit, format_table
from cuberouted.cli.terminal import Terminal, cell_len

NAMES = ["accounting-printer", "日本のお客さん", "e\u0301ric"]
ADDRESSES = ["10.9.0.1", "2001:db8:1:2:3:4:5:6", "10.9.0.0/24"]


def columns(**options):
    return [
        Column("ADDRESS", ADDRESSES),
        Column("KIND", ["client"] * 3, optional=True),
        Column("N", ["1", "22", "333"], right=True),
        Column("NAME", NAMES, short=["a", "b", "c"], may_be_cut=True),
    ]


def test_columns_are_aligned_whatever_the_width_of_a_character():
    table = format_table([*columns(), Column("LAST", ["|"] * 3)], Terminal())
    assert table[0].split() == ["ADDRESS", "KIND", "N", "NAME", "LAST"]
    assert len({cell_len(row.partition("|")[0]) for row in table[1:]}) == 1
    assert table[0].index("LAST") == cell_len(table[1].partition("|")[0])
    assert table[1].index("  1  ") == table[3].index("333  ")


def test_a_pipe_gets_every_cell_whole():
    table = format_table(columns(), Terminal())
    assert [row.split()[-1] for row in table[1:]] == NAMES


def firsts(width):
    return [column.cells[0] for column in fit(columns(), width, "…")]


def test_a_narrow_terminal_gets_fewer_columns_then_short_cells_then_cut_ones():
    assert firsts(53) == ["10.9.0.1", "client", "1", NAMES[0]]
    assert firsts(52) == ["10.9.0.1", "1", NAMES[0]]
    assert firsts(44) == ["10.9.0.1", "1", "a"]
    long = [Column("ADDRESS", ADDRESSES), Column("NAME", NAMES, may_be_cut=True)]
    (address, name) = fit(long, 34, "…")
    assert address.cells == ADDRESSES
    assert name.cells == ["accounting-…", "日本のお客…", "e\u0301ric"]


def test_an_address_is_never_cut():
    (address, name) = fit(
        [Column("ADDRESS", ADDRESSES), Column("NAME", NAMES, may_be_cut=True)], 10, "…"
    )
    assert address.cells == ADDRESSES
    assert max(map(cell_len, name.cells)) <= MIN_CUT


def test_the_widest_column_gives_way_first():
    long, short = Column("A", ["x" * 40], may_be_cut=True), Column("B", ["y" * 10], may_be_cut=True)
    assert [cell_len(column.cells[0]) for column in fit([long, short], 32, "…")] == [20, 10]
    assert [cell_len(column.cells[0]) for column in fit([long, short], 20, "…")] == [9, 9]


def test_without_rows_there_is_a_header():
    assert format_table([Column("A", []), Column("B", [])], Terminal(80)) == ["A  B"]


def test_colours_change_no_alignment():
    table = [Column("A", ["up", "down"], styles={0: "green"}), Column("B", ["1", "2"])]
    assert format_table(table, Terminal(80, 24, colours=True)) == [
        "\x1b[1mA\x1b[0m     \x1b[1mB\x1b[0m",
        "\x1b[32mup\x1b[0m    1",
        "down  2",
    ]


def test_an_encoding_that_lacks_a_character_changes_no_alignment():
    table = [Column("A", ["jürg", "x"]), Column("B", ["1", "2"])]
    assert format_table(table, Terminal(encoding="ascii")) == [
        "A        B",
        "j\\xfcrg  1",
        "x        2",
    ]


def test_the_mark_of_a_cut_is_in_the_encoding():
    table = [Column("A", ["x" * 30], may_be_cut=True)]
    assert format_table(table, Terminal(10, encoding="ascii"))[1] == "xxxxxxxxx~"


@given(
    st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), min_size=1, max_size=5),
    st.integers(2 * MIN_CUT + GAP, 100),
)
def test_what_may_be_cut_fits(rows, width):
    table = [
        Column(title, [row[number] for row in rows], may_be_cut=True)
        for number, title in enumerate(("A", "B"))
    ]
    lines = format_table(table, Terminal(width))
    assert max(map(cell_len, lines)) <= width

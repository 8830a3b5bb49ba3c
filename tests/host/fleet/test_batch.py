"""A file of devices: what is read of it, and that every fault in it is said with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_host.fleet.batch import MOST, BatchError, Entry, read_batch

BOARDS = ("generic-x86", "raspberry-pi-4")
HEAD = "id,board,tags,serial\n"


def test_a_file_is_read_as_spreadsheets_write_it():
    text = '\ufeffID, Board ,tags,serial\r\nedge-1,generic-x86,lab north,\r\n\r\nedge-2,raspberry-pi-4,"a;b", 10e8 \r\n'
    assert read_batch("f", text, BOARDS) == [
        Entry("edge-1", "generic-x86", ("lab", "north")),
        Entry("edge-2", "raspberry-pi-4", ("a", "b"), "10e8"),
    ]
    assert read_batch("f", "board,id\ngeneric-x86,edge-1\n", BOARDS) == [Entry("edge-1", "generic-x86")]


@pytest.mark.parametrize("between", [";", "\t"], ids=["semicolons", "tabs"])
def test_a_file_of_a_spreadsheet_that_separates_otherwise_or_has_empty_columns_behind_is_read(between):
    text = "id,board,tags,serial,,\r\nedge-1,generic-x86,lab north,S1,,\r\n,,,,,\r\nedge-2,generic-x86,,,\r\n"
    expected = [Entry("edge-1", "generic-x86", ("lab", "north"), "S1"), Entry("edge-2", "generic-x86")]
    assert read_batch("f", text, BOARDS) == expected
    assert read_batch("f", text.replace(",", between), BOARDS) == expected


FAULTS = {
    "a serial that was rounded": (
        HEAD + "e-1,generic-x86,,1.00E+15\n",
        ["line 2: serial '1.00E+15'"],
    ),
    "a cell behind the last column": ("id,board,\ne-1,generic-x86,x\n", ["line 2: 3 columns, not 2"]),
    "nothing": ("", ["line 1: it is empty"]),
    "only blank lines": ("\n , \n", ["line 1: it is empty"]),
    "no header": ("edge-1,generic-x86\n", ["line 1: it must name the columns"]),
    "an unknown column": ("id,board,serail\n", ["line 1: it must name the columns"]),
    "a column twice": ("id,board,id\n", ["line 1: it must name the columns"]),
    "no devices": (HEAD, ["0 devices"]),
    "an id that is none": (
        HEAD + "@plane,generic-x86,,\n../x,generic-x86,,\n",
        ["line 2: device id", "line 3: device id"],
    ),
    "a board that nobody knows": (HEAD + "edge-1,pi5,,\n", ["line 2: board 'pi5'"]),
    "a tag that no selection can name": (HEAD + "edge-1,generic-x86,a b! c,\n", ["line 2: tag 'b!'"]),
    "a serial with a control character": (HEAD + "edge-1,generic-x86,,a\x1bb\n", ["line 2: serial"]),
    "a row that is too short": (HEAD + "edge-1,generic-x86\n", ["line 2: 2 columns, not 4"]),
    "an id twice": (HEAD + "e-1,generic-x86,,\ne-1,generic-x86,,\n", ["line 3: id e-1 is on line 2 too"]),
    "a serial twice in other letters": (
        HEAD + "e-1,generic-x86,,ab\ne-2,generic-x86,,AB\n",
        ["line 3: serial AB is on line 2 too"],
    ),
    "a serial twice": (HEAD + "e-1,generic-x86,,s\ne-2,generic-x86,,s\n", ["line 3: serial s is on line 2 too"]),
    "an open quotation mark": (HEAD + 'e-1,"generic', ["line 2: unexpected end of data"]),
    "several at once": (
        HEAD + "E,pi5,,\ne-1,generic-x86,,\nx,generic-x86,!,\n",
        ["line 2", "line 2", "line 4", "line 4"],
    ),
    "too many": (HEAD + "".join(f"e-{n},generic-x86,,\n" for n in range(MOST + 1)), [f"{MOST + 1} devices"]),
}


@pytest.mark.parametrize(("text", "begins"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_said_with_its_line(text, begins):
    with pytest.raises(BatchError) as caught:
        read_batch("fifty.csv", text, BOARDS)
    assert len(caught.value.issues) == len(begins)
    assert all(issue.startswith(begin) for issue, begin in zip(caught.value.issues, begins, strict=True))
    assert "\n" not in str(caught.value)
    assert caught.value.facts()["issues"] == caught.value.issues


def test_a_file_full_of_faults_is_still_one_line():
    with pytest.raises(BatchError) as caught:
        read_batch("fifty.csv", HEAD + "E,generic-x86,,\n" * 500, BOARDS)
    assert len(caught.value.issues) == 500
    assert "and 480 more" in caught.value.message


@given(st.text(max_size=200) | st.text(alphabet='id,board\n"abc-1;\r\x00', max_size=200).map(lambda tail: HEAD + tail))
def test_whatever_the_file_holds_it_is_devices_or_one_error(text):
    try:
        entries = read_batch("f", text, BOARDS)
    except BatchError:
        return
    assert entries

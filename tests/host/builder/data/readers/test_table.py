"""Tables of features: columns by name, labels as classes or numbers, and lines that cannot be used named by number."""

import pytest

from skerry_host.builder.data.readers.base import UnusableDataError, Wanted
from skerry_host.builder.data.readers.table import read
from tests.kit.datasets import plan

IRIS = "length,width,species\n1,2,setosa\n3,4,virginica\n5,6,setosa\n"


def found_in(folder, text, task="classification", names=(), encoding="utf-8", **keys):
    (folder / "x.csv").write_bytes(text.encode(encoding))
    return read(folder / "x.csv", Wanted(task, tuple(names), plan(**keys), ((1, 2),)))


def values(found):
    return [found.inputs[at][0].tolist() for at in range(len(found))]


def test_features_are_numbers_and_text_labels_are_classes_in_the_order_of_their_names(tmp_path):
    found = found_in(tmp_path, IRIS)
    assert values(found) == [[1, 2], [3, 4], [5, 6]]
    assert list(found.truth) == [0, 1, 0]
    assert found.names == ("setosa", "virginica")
    assert "classes in the order of their names" in " ".join(found.notes)
    assert list(found_in(tmp_path, IRIS, names=("virginica", "setosa")).truth) == [1, 0, 1]


WRITTEN = {
    "with a byte order mark": ("\ufeff" + IRIS, "utf-8"),
    "by a spreadsheet of Windows": (IRIS.replace("\n", "\r\n"), "utf-8"),
    "in UTF-16": ("\ufeff" + IRIS, "utf-16-le"),
    "with tabs": (IRIS.replace(",", "\t"), "utf-8"),
    "with semicolons": (IRIS.replace(",", ";"), "utf-8"),
    "in quotes": (IRIS.replace("setosa", '"setosa"').replace("1,2", '"1","2"'), "utf-8"),
    "with an empty last line": (IRIS + "\n\n", "utf-8"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_tables_as_programs_write_them(tmp_path, case):
    text, encoding = WRITTEN[case]
    found = found_in(tmp_path, text, encoding=encoding)
    assert values(found) == [[1, 2], [3, 4], [5, 6]]
    assert list(found.truth) == [0, 1, 0]


def test_a_comma_before_the_fraction(tmp_path):
    found = found_in(tmp_path, "a;b;y\n1,5;2;0,25\n-3,5;1e3;1\n", "regression")
    assert values(found) == [[1.5, 2], [-3.5, 1000]]
    assert [one.tolist() for one in found.truth] == [[0.25], [1.0]]
    assert "comma before their fraction" in " ".join(found.notes)


def test_columns_are_chosen_by_name(tmp_path):
    found = found_in(tmp_path, "id,a,b,y1,y2\n1,2,3,4,5\n", "regression", features=("b", "a"), label=("y2", "y1"))
    assert values(found) == [[3, 2]]
    assert found.truth[0].tolist() == [5, 4]


def test_a_table_without_names_and_without_labels(tmp_path):
    found = found_in(tmp_path, "1,2\n3,4\n", "regression")
    assert values(found) == [[1, 2], [3, 4]]
    assert found.truth is None


LINES = {
    "missing": ("1,,setosa", "x.csv:5: width is missing"),
    "text": ("1,n/a,setosa", "x.csv:5: width holds 'n/a', not a number"),
    "not finite": ("1,inf,setosa", "x.csv:5: width holds 'inf', not a number"),
    "no label": ("1,2,", "x.csv:5: species is missing"),
    "short": ("1", "x.csv:5: width is missing"),
    "long": ("1,2,setosa,4", "x.csv:5: has more cells than there are columns (3)"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_line_that_cannot_be_used_is_named(tmp_path, case):
    line, expected = LINES[case]
    found = found_in(tmp_path, IRIS + line + "\n")
    assert found.damaged == (expected,)
    assert len(found) == 3


REFUSED = {
    "empty": ("", {}, "is empty"),
    "no such column": (IRIS, {"label": ("kind",)}, r"no column 'kind', but length, width, species"),
    "text among features": (
        IRIS.replace("1,2", "a,2").replace("3,4", "b,4").replace("5,6", "c,6"),
        {},
        "columns of text.*length",
    ),
    "a cell of a megabyte": (f"a,b,species\n1,{'2' * 1_000_000},3\n", {}, "no table of text"),
    "no text": (b"\x89PNG\r\n\xff\xfe".decode("latin-1"), {}, "x.csv"),
    "two columns of one name": ("a,a,y\n1,2,3\n", {}, "several columns are called a"),
    "another class": (IRIS, {"names": ("setosa", "versicolor")}, "labels virginica: none of the classes"),
    "no line": ("a,b,species\n", {}, "has no line that can be used"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path, case):
    text, keys, reason = REFUSED[case]
    with pytest.raises(UnusableDataError, match=reason):
        found_in(tmp_path, text, **keys)


def test_labels_that_are_numbers_are_classes_even_where_the_recipe_names_them(tmp_path):
    text = "a,b,label\n1,2,1\n3,4,0.0\n"
    assert list(found_in(tmp_path, text).truth) == [1, 0]
    assert list(found_in(tmp_path, text, names=("no", "yes")).truth) == [1, 0]

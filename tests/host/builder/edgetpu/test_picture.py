"""The picture: a valid SVG of every operator, coloured, none on top of another."""

from itertools import combinations
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_host.builder.edgetpu.layout import BOX, layout
from skerry_host.builder.edgetpu.picture import COLOURS, picture
from skerry_host.builder.edgetpu.preflight import preflight_model
from tests.kit.edgetpu.models import Maker, chain


def test_each_operator_has_a_box_in_the_colour_of_its_verdict() -> None:
    text = picture(preflight_model(chain("RELU", "ABS", "RELU")), "model.tflite")
    fills = [box.get("fill") for box in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}rect")][4:]
    assert fills == [COLOURS[verdict][0] for verdict in ("maps", "cpu", "cpu")]
    assert "predicted, not compiled: 1 of 3" in text
    assert "Operation not supported" in text


def test_names_from_the_file_cannot_break_out() -> None:
    made = Maker()
    made.tensor("a", (1, 4))
    made.tensor("b", (1, 4))
    made.op("</svg><script>\x00\x1b", ["a"], ["b"])
    text = picture(preflight_model(made.data(["a"], ["b"])), "<&>.tflite")
    assert "<script>" not in text
    ET.fromstring(text)


def test_an_empty_graph_and_one_with_too_many_long_edges() -> None:
    assert layout([]).centres == ()
    nested = [[], *([i] for i in range(300)), *([i, 300 - i] for i in range(300))]
    assert len(layout(nested).centres) == 601


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=24))
def test_boxes_never_overlap_and_edges_go_down(raw: list[list[int]]) -> None:
    graph = [sorted({s % i for s in sources}) if i else [] for i, sources in enumerate(raw)]
    placed = layout(graph)
    for (ax, ay), (bx, by) in combinations(placed.centres, 2):
        assert abs(ax - bx) >= BOX[0] or abs(ay - by) >= BOX[1]
    for points in placed.edges:
        assert [y for _, y in points] == sorted({y for _, y in points})
    assert all(BOX[0] / 2 <= x + 0.01 <= placed.width for x, _ in placed.centres)

"""A few points of every row of the network's fault table; `make sweep` runs all of them."""

from tests.net import cases


def test_a_sample_of_every_row():
    found = cases.results(sample=True)
    assert [line for _, _, broken, _ in found for line in broken] == []
    assert all(points for _, points, _, _ in found)

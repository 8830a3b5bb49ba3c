"""A few points of every row of the network's fault table; the sweep runs all of them."""

from tests.net.cases import rows


def test_a_sample_of_every_row(tmp_path):
    with rows(tmp_path) as table:
        broken = {row.case: found for row in table for point in row.some() if (found := row.run(point))}
    assert broken == {}

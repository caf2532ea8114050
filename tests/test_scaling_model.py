"""Scale on paper: the formula by hand, and its bytes against those that two processes were seen to reduce."""

import pytest
from repository import REPOSITORY


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import scaling_model

    return scaling_model


def test_nothing_to_reduce_costs_nothing(paper):
    link = paper.Link(bandwidth=1e9, latency=1e-3)
    cluster = paper.Cluster(link, link, 8)
    assert paper.efficiency(0.01, paper.Traffic((0.0,), ()), cluster, 512, overlap=0.0) == 1.0
    assert paper.efficiency(0.01, paper.Traffic((1e9,), (8.0,)), cluster, 1, overlap=0.0) == 1.0


def test_two_processes_by_hand(paper):
    link = paper.Link(bandwidth=1e9, latency=1e-5)
    cluster = paper.Cluster(link, link, 8)
    two_steps = paper.Traffic((8e6, 4e6), ())  # 8.02 ms and 4.02 ms, each in one bucket: nothing overlaps
    assert paper.efficiency(0.012, two_steps, cluster, 2, overlap=0.5) == pytest.approx(12 / (12 + 12.04))
    statistics = paper.Traffic((), (8.0,) * 10)  # ten times 2e-5 s and 8e-9 s
    assert paper.efficiency(0.002, statistics, cluster, 2, overlap=0.5) == pytest.approx(2 / 2.20008)
    long = paper.Traffic((100 * 2**20,), ())  # 104.8776 ms, of which 60 ms travel beside the backward pass
    assert paper.efficiency(0.18, long, cluster, 2, overlap=0.5) == pytest.approx(180 / (180 + 44.8776))
    assert paper.efficiency(9.0, long, cluster, 2, overlap=0.5) == pytest.approx(9 / (9 + 0.0262344))  # the last bucket


def test_nodes_sum_inside_and_then_across(paper):
    cluster = paper.Cluster(paper.Link(1e9, 0.0), paper.Link(1e8, 1e-3), node=4)
    inside, across = 2 * 3 / 4 * 8e6 / 1e9, 2 * 3 / 4 * 2e6 / 1e8 + 4 * 1e-3  # 16 processes, 4 nodes
    assert cluster.all_reduce(8e6, 16) == pytest.approx(inside + across)
    assert cluster.all_reduce(8e6, 4) == pytest.approx(inside)


@pytest.mark.parametrize(("group", "reduced"), [(None, 6_958_080), (32, 6_928_896)])
def test_bytes_are_those_that_were_seen(paper, group, reduced):
    """`benchmarks/RESULTS.md`, several processes: counted where `all_reduce` is called."""
    traffic = paper.traffic_of(paper.make_model(group))
    assert sum(traffic.gradients) + sum(traffic.statistics) == reduced
    assert len(traffic.statistics) == (0 if group else 21)

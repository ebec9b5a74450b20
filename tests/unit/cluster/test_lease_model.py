"""The lease, seen from both ends."""

from __future__ import annotations

from queuectl.cluster.lease_model import NodeLease, PoolLease, margin_s


def test_a_lease_runs_from_the_making_of_a_token_that_comes_back() -> None:
    """P3: Before a token comes back nothing may run; then the lease runs from the instant that the token was made."""
    node = NodeLease("g")
    token = node.make_token(100.0)
    assert node.left_s(100.0) == 0
    assert not node.has_ended(100.0)
    assert node.take(token, 30.0, 110.0)
    assert node.until_s == 130.0
    assert node.left_s(110.0) == 20.0
    assert node.has_ended(130.0)


def test_an_ended_lease_never_runs_again() -> None:
    """P3: No token prolongs a lease that has ended, by the clock or by the pool's word."""
    node = NodeLease("g")
    first, second = node.make_token(0.0), node.make_token(29.0)
    assert node.take(first, 30.0, 1.0)
    assert not node.take(second, 30.0, 31.0)
    other = NodeLease("h", first_token=node.next_token)
    assert other.take(other.make_token(0.0), 30.0, 1.0)
    assert not other.give_up("g")
    assert other.give_up("h")
    assert other.left_s(2.0) == 0
    assert not other.take(other.make_token(2.0), 30.0, 2.0)


def test_strange_and_old_tokens_prolong_nothing() -> None:
    """A token of another lease, and one older than the lease is long, are refused."""
    node = NodeLease("g")
    token = node.make_token(0.0)
    assert not node.take(token + 1, 30.0, 1.0)
    assert not node.take(token, 30.0, 30.0)
    assert node.is_fresh(token, 30.0, 29.0)
    assert not node.is_fresh(token, 30.0, 30.0)


def test_only_so_many_tokens_are_remembered() -> None:
    """The newest tokens count; a keeper's memory is bounded."""
    node = NodeLease("g")
    tokens = [node.make_token(0.0) for _ in range(300)]
    assert not node.is_fresh(tokens[0], 30.0, 1.0)
    assert node.is_fresh(tokens[-1], 30.0, 1.0)


def test_a_pool_counts_from_the_receipt_of_the_token_that_it_brings_back() -> None:
    """P3: The bound grows when a token is brought back, not when it arrives, and old answers do not change it."""
    pool = PoolLease()
    assert pool.echo(30.0, 0.0) == 0
    assert not pool.is_given_up(1000.0)
    pool.receive(2, 10.0)
    pool.receive(1, 20.0)
    assert pool.bound_with(30.0) == 40.0
    assert not pool.is_given_up(1000.0)
    assert pool.echo(30.0, 21.0) == 2
    assert pool.bound_s == 40.0
    assert pool.give_up_s == 40.0 + margin_s(30.0)
    assert pool.is_given_up(43.1)
    assert pool.echo(30.0, 43.1) == 0


def test_the_margin_covers_clocks_that_are_one_percent_off() -> None:
    """The margin is 3 s with a lease of 30 s, and grows with the lease."""
    assert 3.0 <= margin_s(30.0) < 3.01
    for lease_s in (1.0, 30.0, 600.0, 3600.0):
        assert (lease_s + margin_s(lease_s)) / 1.01 > lease_s / 0.99 + 0.5

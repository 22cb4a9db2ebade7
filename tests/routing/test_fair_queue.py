"""Whose turn it is."""

from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.reliability.fair_queue import FairQueue

names = st.sampled_from("abcd")
arrivals = st.lists(st.tuples(names, st.sampled_from("xyz")), max_size=40)
Item = tuple[str, str, int]


def filled(arrived: list[tuple[str, str]]) -> tuple[FairQueue[Item], list[Item]]:
    queue: FairQueue[Item] = FairQueue()
    items = [(tenant, lane, number) for number, (tenant, lane) in enumerate(arrived)]
    for tenant, lane, number in items:
        queue.add(tenant, lane, (tenant, lane, number))
    return queue, items


def emptied(queue: FairQueue[Item]) -> list[Item]:
    out: list[Item] = []
    while (item := queue.take(lambda _: True)) is not None:
        out.append(item)
    return out


@given(arrivals)
def test_everything_that_goes_in_comes_out_once(arrived: list[tuple[str, str]]) -> None:
    queue, items = filled(arrived)
    assert len(queue) == len(items)
    assert sorted(emptied(queue)) == sorted(items)
    assert len(queue) == 0


@given(arrivals)
def test_each_tenant_s_items_come_out_in_the_order_in_which_they_went_in(
    arrived: list[tuple[str, str]],
) -> None:
    queue, items = filled(arrived)
    out = emptied(queue)
    for tenant in "abcd":
        assert [it for it in out if it[0] == tenant] == [it for it in items if it[0] == tenant]


@given(arrivals)
def test_between_two_turns_of_a_tenant_each_other_that_waits_has_one(arrived: list[tuple[str, str]]) -> None:
    queue, items = filled(arrived)
    left = {tenant: sum(it[0] == tenant for it in items) for tenant in "abcd"}
    since: dict[str, int] = dict.fromkeys("abcd", 0)
    for tenant, _, _ in emptied(queue):
        for other in since:
            since[other] = 0 if other == tenant else since[other] + bool(left[other])
            assert since[other] < 4
        left[tenant] -= 1


@given(arrivals, st.sets(st.sampled_from("xyz")))
def test_what_is_stuck_in_one_lane_holds_nothing_up_in_another(
    arrived: list[tuple[str, str]], stuck: set[str]
) -> None:
    queue, items = filled(arrived)
    out: list[Item] = []
    while (item := queue.take(lambda it: it[1] not in stuck)) is not None:
        out.append(item)
    assert sorted(out) == sorted(it for it in items if it[1] not in stuck)
    assert len(queue) == len(items) - len(out)
    assert all(queue.holds(lane) == any(it[1] == lane for it in items) for lane in stuck)


def test_a_tenant_that_could_not_go_is_first_when_it_can() -> None:
    queue, _ = filled([("a", "x"), ("b", "y"), ("b", "y"), ("b", "y")])
    assert queue.take(lambda it: it[1] == "y") == ("b", "y", 1)
    assert queue.take(lambda it: it[1] == "y") == ("b", "y", 2)
    assert queue.take(lambda _: True) == ("a", "x", 0)


@given(arrivals, st.data())
def test_what_is_taken_out_does_not_come_out(arrived: list[tuple[str, str]], data: st.DataObject) -> None:
    queue: FairQueue[int] = FairQueue()
    numbers = [queue.add(tenant, lane, place) for place, (tenant, lane) in enumerate(arrived)]
    gone = data.draw(st.sets(st.sampled_from(range(len(arrived))))) if arrived else set[int]()
    for place in gone:
        for _ in range(2):  # the second time there is nothing left to do
            queue.discard(*arrived[place], numbers[place])
    out: list[int] = []
    while (item := queue.take(lambda _: True)) is not None:
        out.append(item)
    assert sorted(out) == [place for place in range(len(arrived)) if place not in gone]


@given(arrivals.filter(bool))
def test_the_longest_row_is_known_and_loses_what_came_last(arrived: list[tuple[str, str]]) -> None:
    queue, items = filled(arrived)
    counts = {tenant: sum(it[0] == tenant for it in items) for tenant in "abcd"}
    tenant, count = queue.longest()
    assert count == counts[tenant] == max(counts.values())
    assert queue.take_newest(tenant) == [it for it in items if it[0] == tenant][-1]
    assert len(emptied(queue)) == len(items) - 1

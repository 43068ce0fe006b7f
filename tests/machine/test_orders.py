"""A heap whose entries can be withdrawn is a sorted list, however it is used."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.machine.moves import Head
from holdfast.machine.orders import Heap
from holdfast.message import Message

HEADS = [Head.of(Message(id=str(number), body=b""), number, 0) for number in range(6)]
COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("withdraw"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("pop"), st.just(0), st.just(0)),
        st.tuples(st.just("pop_until"), st.integers(0, 3), st.integers(0, 4)),
    ),
    max_size=40,
)


@given(COMMANDS)
def test_a_heap_gives_what_a_sorted_list_gives(commands):
    heap, places = Heap(), {}

    for verb, number, other in commands:
        if verb == "push" and number not in places:
            heap.push((other, number), HEADS[number])
            places[number] = (other, number)
        elif verb == "withdraw":
            heap.withdraw(HEADS[number])
            places.pop(number, None)
        elif verb == "pop":
            best = min(places, key=places.get, default=None)
            assert heap.pop() is (None if best is None else HEADS[best])
            places.pop(best, None)
        elif verb == "pop_until":
            due = sorted(place for place in places.values() if place[0] <= number)[:other]
            assert heap.pop_until(number, other) == [HEADS[one] for _, one in due]
            places = {one: place for one, place in places.items() if place not in due}

    assert len(heap) == len(places)


def test_withdrawn_entries_do_not_pile_up():
    heap = Heap()

    for round_ in range(10_000):
        heap.push((round_,), HEADS[0])
        heap.withdraw(HEADS[0])

    assert len(heap._line) + len(heap._late) < 100

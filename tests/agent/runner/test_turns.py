"""Who waits for the engine gets it in the order of coming, and one at a time has it."""

import threading

from skerry_agent.runner.turns import Turns
from tests.kit.waiting import eventually


def test_those_who_wait_get_it_in_the_order_in_which_they_came():
    turns, order, threads = Turns(), [], []

    def take(name):
        with turns:
            order.append(name)

    with turns:
        for name in range(10):
            threads.append(threading.Thread(target=take, args=(name,)))
            threads[-1].start()
            eventually(lambda name=name: len(turns._waiting) == name + 1, "it waits")
    for thread in threads:
        thread.join()
    assert order == list(range(10))


def test_who_comes_back_at_once_does_not_pass_those_who_wait():
    """With `threading.Lock` the thread that has just had it takes it again, a hundred times over."""
    turns, had, stop = Turns(), {"one": 0, "other": 0}, threading.Event()

    def work(name):
        while not stop.is_set():
            with turns:
                had[name] += 1

    threads = [threading.Thread(target=work, args=(name,)) for name in had]
    for thread in threads:
        thread.start()
    eventually(lambda: min(had.values()) > 200, "both have it")
    stop.set()
    for thread in threads:
        thread.join()


def test_one_at_a_time_has_it():
    turns, inside, worst = Turns(), [], []

    def work():
        for _ in range(500):
            with turns:
                inside.append(1)
                worst.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) == 1
    with turns:
        pass

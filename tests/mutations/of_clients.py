"""Bugs in clients: what gets lost on the way into their thread, or out of it, and what they ask the store for."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

CLIENT = "tests/client/test_client_"

OF_CLIENTS = (
    Mutant(
        name="client-cancel-without-waiting",
        breaks="a call that asyncio cancels has ended when the task goes on",
        file="_client/bridges.py",
        before="            cancelled = exc\n",
        after="            cancelled = exc\n            break\n",
        tests=(f"{CLIENT}bridges.py::test_what_asyncio_cancels_is_cancelled_there_and_waited_for",),
    ),
    Mutant(
        name="client-order-in-no-context",
        breaks="a call is made in the caller's context",
        file="_client/thread.py",
        before="order.context.run(self._nursery.start_soon, order.carry_out)",
        after="self._nursery.start_soon(order.carry_out)",
        tests=(f"{CLIENT}bridges.py::test_outcomes_arrive_as_they_are",),
    ),
    Mutant(
        name="client-host-hears-nothing",
        breaks="a block of asyncio's is cancelled when its engine breaks",
        file="_client/bridges.py",
        before="cut = not over and task.cancel()",
        after="cut = False",
        tests=(f"{CLIENT}ended.py::test_an_engine_that_breaks_cancels_its_block",),
    ),
    Mutant(
        name="client-host-stays-cancelled",
        breaks="whoever goes on when its engine has broken counts as cancelled no more",
        file="_client/bridges.py",
        before="            task.uncancel()\n",
        after="            pass\n",
        tests=(f"{CLIENT}ended.py::test_an_engine_that_breaks_cancels_its_block",),
    ),
    Mutant(
        name="client-orders-forgotten-at-the-end",
        breaks="every order gets an answer, whatever becomes of the loop",
        file="_client/thread.py",
        before="        for order in list(self._orders.values()):\n            order.drop()\n",
        after="",
        tests=(f"{CLIENT}bridges.py::test_an_order_that_the_loop_never_saw",),
    ),
    Mutant(
        name="client-item-taken-before-it-is-kept",
        breaks="no item is lost by who is cancelled just when it comes",
        file="_client/receiving.py",
        before="self._kept.append(await self._channel.receive())",
        after="self._kept.clear()\n            self._kept.append(await self._channel.receive())",
        tests=(f"{CLIENT}bridges.py::test_what_comes_when_nobody_waits_any_more_is_the_next",),
    ),
    Mutant(
        name="client-asks-for-ever",
        breaks="a client asks the store for nothing while nobody waits",
        file="_client/guest.py",
        before="if not (self.waiters or self.readers):",
        after="if self.waiters is self.readers:",
        tests=(f"{CLIENT}guest.py::test_nobody_is_asked_while_nobody_waits",),
    ),
    Mutant(
        name="client-is-a-worker",
        breaks="a client owns nothing, and nobody takes it for a worker",
        file="_stores/sqlite.py",
        before="        if lease is not None:\n            workers.enter(session, now)\n",
        after="        workers.enter(session, now)\n",
        tests=(f"{CLIENT}guest.py::test_it_is_no_worker",),
    ),
    Mutant(
        name="pool-keeps-what-comes-late",
        breaks="a store that is closed keeps no connection",
        file="_stores/_postgres/pool.py",
        before="if self._closed or not connection.is_at_rest:",
        after="if not connection.is_at_rest:",
        tests=("tests/stores/test_store_guests.py::test_what_is_given_back_to_a_closed_pool_is_closed",),
    ),
)

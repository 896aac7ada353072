"""Machines that run engines, people who use them, and what goes wrong; then a calm time in which all must end."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from nurselog import (
    Engine,
    EngineClosed,
    InboxFull,
    PromiseSettled,
    Status,
    StoreUnavailable,
    Workflow,
    WorkflowEnded,
    WorkflowNotFound,
    WorkflowStuck,
    open_engine,
)
from nurselog.abc import Workflow as WorkflowRow
from nurselog.abc import WorkflowKey
from tests.simulation.database import Database
from tests.simulation.judge import Judge, outcome_of
from tests.simulation.laws import Law
from tests.simulation.load import program
from tests.simulation.outsiders import Outsider
from tests.simulation.plan import NEWEST, Fault, Plan
from tests.simulation.process import Gone, MachineClock, Process, Pulse, here, true_time
from tests.simulation.releases import OLD_MENU, RELEASES
from tests.simulation.steps import world
from tests.simulation.store import Network, SimulatedStore
from tests.simulation.talk import listener, member, ring
from tests.simulation.tally import Tally, Thing
from tests.simulation.writer import Writer

PATIENCE = 400
"""Units after which whatever has not ended in the calm time is taken to wait for ever."""


class Machine:
    """Runs one process after another, and always the newest release that it was given."""

    process: Process

    def __init__(self, cluster: Cluster, number: int, workflows: list[Workflow[..., Any]] | None = None) -> None:
        self._cluster, self._number, self._workflows = cluster, number, workflows
        self.pulse = Pulse()
        self.clock = MachineClock(self.pulse)
        self.release = cluster.plan.release
        self._starts = 0

    async def run(self) -> None:
        """Start processes for ever."""
        cluster = self._cluster
        while True:
            self._starts += 1
            self.process = Process(f"{self._number}.{self._starts}", self.pulse, self.clock, self.release)
            cluster.nursery.start_soon(self._live, self.process)
            await self.process.down.wait()
            await trio.sleep(cluster.network.while_() / 3)

    async def _live(self, process: Process) -> None:
        here.set(process)
        cluster, plan = self._cluster, self._cluster.plan
        store = SimulatedStore(cluster.network, process, cluster.judge)
        workflows = self._workflows or RELEASES[process.release]
        cluster.judge.note("starts", process.name, process.release)
        try:
            async with open_engine(
                store,
                workflows,
                clock=self.clock,
                lease=plan.unit,
                evict_after=plan.evict_after,
                max_running=plan.max_running,
                max_inbox=plan.max_inbox,
                grace=plan.unit / 3,
            ) as engine:
                process.engine = engine if process.alive else None
                async with trio.open_nursery() as process.clients:
                    await process.told.wait()
                    process.engine = None
                    process.clients.cancel_scope.cancel()
        except Exception as exc:  # noqa: BLE001 - the judge hears of it
            may_fail = process.told.is_set() or store.lease.worker not in cluster.database.listeners
            if process.alive and not (isinstance(exc, StoreUnavailable) and may_fail):
                cluster.judge.broken(Law.HEALTHY, f"the engine of process {process.name} broke: {exc!r}")
        finally:
            process.engine = None
            process.down.set()

    def restart(self) -> None:
        """Have the process end in order, and start another."""
        self.process.engine = None
        self.process.told.set()


class Cluster:
    """Everything in a run."""

    nursery: trio.Nursery

    def __init__(self, plan: Plan, tally: Tally) -> None:
        self.plan, self.tally = plan, tally
        self.chance = random.Random(f"cluster {plan.seed}")
        self.database = Database(true_time, random.Random(f"writers {plan.seed}"))
        self.judge = Judge(self.database, tally)
        self.network = Network(
            self.database, plan.weather, unit=plan.unit, chance=random.Random(f"network {plan.seed}"), tally=tally
        )
        self.network.leaving = self._cancel_who_leaves
        self.machines = [Machine(self, number) for number in range(plan.machines)]
        self._writer = Writer(random.Random(f"programs {plan.seed}"), plan.unit, plan.workflows)
        self._numbers = 0

    async def run(self) -> None:
        """Go through a time of misfortunes, and a calm one."""
        world.set(self.judge)
        async with trio.open_nursery() as self.nursery:
            self.network.nursery = self.nursery
            for machine in self.machines:
                self.nursery.start_soon(machine.run)
            async with trio.open_nursery() as troubles:
                for fault in Fault:
                    if self.plan.often[fault] > 0:
                        troubles.start_soon(self._trouble, fault)
                for number in range(self.plan.senders):
                    troubles.start_soon(Outsider(self, f"sender{number}").run)
                await self._submit_all()
                troubles.cancel_scope.cancel()
            self._calm()
            if not self.judge.breaches:
                await self._let_end()
                self.judge.wait_no_longer()
            self.tally[Thing.HOURS] += round(trio.current_time() / 3600)
            self.nursery.cancel_scope.cancel()

    # -- those who use it ------------------------------------------------------------------------

    async def _submit_all(self) -> None:
        for _ in range(self.plan.workflows):
            await trio.sleep(self.chance.expovariate(self.plan.workflows / self.plan.span))
            if process := self.some_process():
                process.clients.start_soon(self._as_client, process, *self._draw_workflow(process))

    def _draw_workflow(self, process: Process) -> tuple[Workflow[..., Any], tuple[Any, ...], str]:
        self._numbers += 1
        offered = [one for one in RELEASES[process.release] if one not in {member, listener}]
        workflow = self.chance.choice([program, program, program, *offered])
        id = f"{workflow.name}-{self._numbers}"
        if workflow is program:
            return workflow, (self._writer.write(),), id
        if workflow is ring:
            size, rounds = self.chance.randint(1, 4), self.chance.randint(1, 4)
            return workflow, (size, rounds, self.plan.unit * self.chance.choice([1, 10])), id
        return workflow, (self.chance.randint(1, 6), self.plan.unit), id

    async def _as_client(self, process: Process, workflow: Workflow[..., Any], args: tuple[Any, ...], id: str) -> None:
        here.set(process)

        async def use(engine: Engine) -> None:
            handle = await engine.submit(workflow, *args, id=id)
            self.judge.submitted(id)
            self.judge.note("submitted", id)
            try:
                value = await handle.result()
            except (EngineClosed, StoreUnavailable, WorkflowStuck, Gone):
                return
            except Exception as exc:  # noqa: BLE001 - the workflow's own error
                error = exc

                def fail() -> None:
                    raise error

                self.judge.result(id, outcome_of(fail))
            else:
                self.judge.result(id, ("value", value))

        await self.use(process, use)

    async def use(self, process: Process, use: Callable[[Engine], Awaitable[object]]) -> bool:
        """Use an engine; return whether that was possible."""
        here.set(process)
        try:
            if process.engine is None:
                return False
            await use(process.engine)
        except (EngineClosed, StoreUnavailable, Gone, WorkflowEnded, WorkflowNotFound, InboxFull, PromiseSettled):
            return False
        except Exception as exc:  # noqa: BLE001 - the judge hears of it
            self.judge.broken(Law.HEALTHY, f"a call of the engine of process {process.name} failed: {exc!r}")
            return False
        return True

    def some_process(self) -> Process | None:
        """Return one whose engine is open."""
        found = [machine.process for machine in self.machines if machine.process.engine is not None]
        return self.chance.choice(found) if found else None

    def some_open_workflow(self) -> str | None:
        found = [one.id for one in self.database.workflows.values() if not one.status.final]
        return self.chance.choice(found) if found else None

    def serving(self) -> Sequence[str]:
        """Return the open workflows in whose programs updates are answered."""
        database = self.database
        found = [one for one in database.workflows.values() if not one.status.final]
        return [one.id for one in found if b"serve" in (database.logs[one.key][0].value or b"")]

    # -- what goes wrong -------------------------------------------------------------------------

    async def _trouble(self, fault: Fault) -> None:
        rate = self.plan.often[fault] / self.plan.span
        while True:
            await trio.sleep(self.chance.expovariate(rate))
            machine = self.chance.choice(self.machines)
            if await self._strike(fault, machine):
                self.tally[fault] += 1
                self.judge.note(fault.value, machine.process.name)

    async def _strike(self, fault: Fault, machine: Machine) -> bool:
        """Let a misfortune happen; return whether it did."""
        process = machine.process
        match fault:
            case Fault.CRASH:
                return self._crash(process)
            case Fault.RESTART:
                machine.restart()
            case Fault.DEPLOY:
                machine.release = self._draw_release(machine.release)
                machine.restart() if self.chance.random() < 0.7 else self._crash(process)
            case Fault.STOP:
                self.nursery.start_soon(self._stop, machine)
            case Fault.JUMP:
                sign = self.chance.choice([-1, 1])
                machine.clock.set_off(sign * round(self.network.while_() * 4e6))
            case Fault.OUTAGE:
                await self._outage()
            case Fault.CANCEL | Fault.KILL:
                return self._tell(fault, self.some_open_workflow())
            case Fault.RESUME:
                stuck = [one.id for one in self.database.workflows.values() if one.status is Status.STUCK]
                return sum(self._tell(fault, id) for id in stuck) > 0
        return True

    def _crash(self, process: Process) -> bool:
        if not process.alive:
            return False
        process.crash()
        if self.chance.random() < 0.5:  # else its lease must run out
            self.database.put_out(process.worker)
        return True

    def _draw_release(self, now: int) -> int:
        """Mostly the next one; sometimes one is taken back."""
        return max(0, now - 1) if self.chance.random() < 0.2 else min(NEWEST, now + 1)

    async def _stop(self, machine: Machine) -> None:
        machine.pulse.stop()
        await trio.sleep(self.network.while_() * 4)
        machine.pulse.go_on()

    async def _outage(self) -> None:
        self.network.is_down = True
        await trio.sleep(self.network.while_() * 4)
        self.network.is_down = False

    def _cancel_who_leaves(self, key: WorkflowKey) -> None:
        """Cancel just then: the message and the workflow's last words are on their way at the same time."""
        if self.chance.random() < self.plan.often[Fault.CANCEL] / 80:
            self.tally[Fault.CANCEL] += self._tell(Fault.CANCEL, self.database.workflows[key].id)

    def _tell(self, fault: Fault, id: str | None) -> bool:
        process = self.some_process()
        if id is None or process is None:
            return False

        async def use(engine: Engine) -> None:
            match fault:
                case Fault.CANCEL:
                    await engine.cancel(id, "bad luck")
                case Fault.KILL:
                    await engine.kill(id)
                case _:
                    await engine.resume(id)

        process.clients.start_soon(self.use, process, use)
        return True

    # -- the calm time ---------------------------------------------------------------------------

    def _calm(self) -> None:
        """Let nothing go wrong any more."""
        self.judge.note("calm")
        self.network.clear()
        for machine in self.machines:
            machine.pulse.go_on()
            machine.clock.set_off(0)
            if machine.release < NEWEST:  # the others go on: what they have lost sight of, they must find by themselves
                machine.release = NEWEST
                machine.restart()
        old = Machine(self, len(self.machines), [OLD_MENU])
        self.machines.append(old)
        self.nursery.start_soon(old.run)

    async def _let_end(self) -> None:
        """Wait until everything has come to an end, as it must."""
        await trio.sleep(3 * self.plan.unit)
        await self._cancel_some()
        for _ in range(PATIENCE):
            if self.judge.breaches or all(one.status.final for one in self.database.workflows.values()):
                break
            await trio.sleep(self.plan.unit)
            for one in list(self.database.workflows.values()):
                if one.status is Status.STUCK and (process := self.some_process()):
                    process.clients.start_soon(self.use, process, lambda engine, id=one.id: engine.resume(id))
                elif self._is_orphan(one) and (process := self.some_process()):
                    process.clients.start_soon(self.use, process, lambda engine, id=one.id: engine.cancel(id, "alone"))
        await trio.sleep(3 * self.plan.unit)  # who waits for a result hears of it

    def _is_orphan(self, one: WorkflowRow) -> bool:
        """Whether nobody will tell it to end: its parent was killed."""
        parents = [self.database.workflows[one.parent]] if one.parent is not None else []
        return any(parent.status is Status.KILLED for parent in parents) and one.status is not Status.CANCELLING

    async def _cancel_some(self) -> None:
        """Cancel some, now that nothing goes wrong: that must be in their logs."""
        for one in list(self.database.workflows.values()):
            process = self.some_process()
            if process is None or self.chance.random() < 0.7:
                continue
            if await self.use(process, lambda engine, id=one.id: engine.cancel(id, "calm")):
                self.judge.cancelled(one.id)

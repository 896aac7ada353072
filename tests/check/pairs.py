"""Pairs of snippets, one wrong and one right: clocks, chance, effects, state and what is not awaited."""

from __future__ import annotations

from tests.check.kit import Pair

PAIRS = [
    Pair(
        "a transaction, which is a step",
        """
        import sqlite3
        from nurselog import transaction
        @transaction
        def pay(connection, amount): ...
        def refund(connection, amount): ...
        refunding = nurselog.transaction(name="refund", database="bank")(refund)
        @workflow
        async def flow():
            pay(5)  # breaks: unawaited
            refunding(5)  # breaks: unawaited
            sqlite3.connect("bank.db")  # breaks: effect
        """,
        """
        import sqlite3, time
        from nurselog import transaction
        @transaction(database="bank")
        def pay(connection, amount):
            sqlite3.connect("other.db")
            time.sleep(1)
        @workflow
        async def flow():
            await pay(5)
            async with open_nursery() as nursery:
                nursery.go(pay, 5)
        """,
    ),
    Pair(
        "a plain sleep",
        """
        import time, anyio, asyncio
        @workflow
        async def flow():
            await trio.sleep(5)  # breaks: plain-sleep
            time.sleep(5)  # breaks: plain-sleep
            await anyio.sleep(x := 1)  # breaks: plain-sleep
            await asyncio.sleep(0)  # breaks: plain-sleep
            async with open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 5)  # breaks: plain-sleep
        """,
        """
        import time, anyio, math
        @step
        async def wait():
            await trio.sleep(5)
        @workflow
        async def flow():
            await sleep(5)
            await wait()
            await trio.sleep(0)
            await anyio.sleep(0)
            await trio.sleep_forever()
            await trio.sleep(math.inf)
            await trio.lowlevel.checkpoint()
            async with open_nursery() as nursery:
                nursery.start_soon(sleep, 5)
        """,
    ),
    Pair(
        "a plain deadline",
        """
        import anyio
        @workflow
        async def flow():
            with trio.move_on_after(5):  # breaks: plain-deadline
                await charge(1)
            with trio.CancelScope(deadline=trio.lowlevel.x):  # breaks: plain-deadline
                await charge(1)
            with anyio.fail_after(delay=5):  # breaks: plain-deadline
                await charge(1)
        """,
        """
        import anyio, math
        @workflow
        async def flow():
            with move_on_after(5):
                await charge(1)
            with trio.CancelScope(deadline=math.inf, shield=True):
                await charge(1)
            with anyio.move_on_after(None):
                await charge(1)
            with trio.CancelScope() as scope:
                scope.cancel()
        """,
    ),
    Pair(
        "a wall clock",
        """
        import datetime as dt
        from time import time as clock, gmtime
        @workflow
        async def flow():
            await charge(clock())  # breaks: wall-clock
            if dt.datetime.now(dt.UTC).hour < 9:  # breaks: wall-clock
                return gmtime()  # breaks: wall-clock
            return trio.current_time()  # breaks: wall-clock
        """,
        """
        import datetime as dt
        from time import gmtime, time as clock
        @step
        async def when():
            return clock()
        @workflow
        async def flow(time):
            await charge(time.time())
            if nurselog.now().hour < 9:
                return gmtime(12)
            return dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        """,
    ),
    Pair(
        "chance",
        """
        import os, random, secrets, uuid
        import numpy as np
        @workflow
        async def flow():
            await charge(random.random())  # breaks: random
            await charge(uuid.uuid4())  # breaks: random
            await charge(secrets.token_hex(8))  # breaks: random
            await charge(os.urandom(8))  # breaks: random
            await charge(np.random.normal())  # breaks: random
            await charge(random.Random().random())  # breaks: random
            return sorted([1, 2], key=random.random)  # breaks: random
        """,
        """
        import random, secrets, uuid
        import numpy as np
        draw = step(random.random, name="draw")
        @workflow
        async def flow(seed):
            random = nurselog.rng()
            await charge(random.random())
            await charge(nurselog.uuid4())
            await charge(uuid.UUID(int=5))
            await charge(secrets.compare_digest("a", "b"))
            await charge(np.random.default_rng(5).normal())
            await charge(await draw())
        """,
    ),
    Pair(
        "a seed of one's own",
        """
        import random
        @workflow
        async def flow():
            numbers = random.Random()  # breaks: random
            random.shuffle([1])  # breaks: random
        """,
        """
        import random
        @workflow
        async def flow(seed):
            numbers = random.Random(seed)
            numbers.shuffle([1])
        """,
    ),
    Pair(
        "the environment",
        """
        import os, sys
        from os import environ
        @workflow
        async def flow():
            await charge(environ["PRICE"])  # breaks: environment
            if "X" in os.environ:  # breaks: environment
                return sys.argv[1]  # breaks: environment
            return os.getenv("Y")  # breaks: environment
        """,
        """
        import os
        PRICE = os.environ["PRICE"]
        @step
        async def price():
            return os.getenv("PRICE")
        @workflow
        async def flow(environ):
            await charge(environ["PRICE"])
            return await price()
        """,
    ),
    Pair(
        "an effect",
        """
        import subprocess, requests, sqlite3, httpx
        from pathlib import Path
        @workflow
        async def flow(file: Path):
            with open("x") as one:  # breaks: effect
                pass
            Path("a").write_text("b")  # breaks: effect
            file.read_bytes()  # breaks: effect
            there = Path("b")
            there.unlink()  # breaks: effect
            subprocess.run(["ls"])  # breaks: effect
            requests.get("http://shop")  # breaks: effect
            sqlite3.connect("x.db")  # breaks: effect
            await trio.to_thread.run_sync(hash, 5)  # breaks: effect
            async with httpx.AsyncClient() as client:
                await client.get("http://shop")  # breaks: effect
        """,
        """
        import httpx, sqlite3
        from pathlib import Path
        @step
        async def write(path):
            with open(path) as one:
                one.write("x")
        @step
        async def fetch(client, url):
            return await client.get(url)
        class Store:
            @step
            async def write_text(self, text): ...
        @workflow
        async def flow(open, file: Path, store: Store):
            open("x")
            await write(Path("a") / "b")
            await write(file.with_suffix(".x").name)
            await store.write_text("x")
            async with httpx.AsyncClient() as client:
                await fetch(client, httpx.URL("http://shop"))
            try:
                await charge(1)
            except sqlite3.Error:
                raise
        """,
    ),
    Pair(
        "a counter of the process",
        """
        from itertools import count
        from collections import Counter
        numbers = count(1)
        seen: list[str] = []
        counts = Counter()
        total = 0
        class Shop:
            open = True
        settings = Shop()
        @workflow
        async def flow():
            global total
            total += 1  # breaks: module-state
            await charge(next(numbers))  # breaks: module-state
            seen.append("x")  # breaks: module-state
            counts["x"] += 1  # breaks: module-state
            del counts["x"]  # breaks: module-state
            Shop.open = False  # breaks: module-state
            settings.open = False  # breaks: module-state
        """,
        """
        from itertools import count
        PRICES = {"a": 1}
        numbers = count(1)
        seen: list[str] = []
        total = 0
        @step
        async def note():
            seen.append("x")
            return next(numbers)
        @workflow
        async def flow():
            global unused
            total = 1
            numbers = count(1)
            seen = []
            seen.append(PRICES["a"] + next(numbers) + next(iter(PRICES)))
            counts = {}
            counts["x"] = PRICES.get("b")
            scope = CancelScope()
            scope.shield = True
            await charge(await note())
        """,
    ),
    Pair(
        "a lock that all workflows share",
        """
        import trio
        lock = trio.Lock()
        limit = trio.CapacityLimiter(3)
        @workflow
        async def flow():
            async with lock:  # breaks: module-state
                await charge(1)
            await limit.acquire()  # breaks: module-state
        """,
        """
        import trio
        limit = trio.CapacityLimiter(3)
        @step
        async def limited():
            async with limit:
                return 1
        @workflow
        async def flow():
            lock = trio.Lock()
            async with lock:
                await charge(await limited())
            await charge(limit)
        """,
    ),
    Pair(
        "a step without await",
        """
        async def branch():
            await charge(1)
        async def tell(word, stream: nurselog.Stream):
            stream.send(word)  # breaks: unawaited
        class Account:
            @step
            async def deposit(self, cents): ...
            @workflow
            async def flow(self, cents):
                self.deposit(1)  # breaks: unawaited
                charge(1)  # breaks: unawaited
                branch()  # breaks: unawaited
                sleep(5)  # breaks: unawaited
                never = charge(2)  # breaks: unawaited
                if charge(3):  # breaks: unawaited
                    print(f"{charge(4)}")  # breaks: unawaited
                while not charge(5):  # breaks: unawaited
                    for one in charge(6):  # breaks: unawaited
                        one = charge(7).price + 1  # breaks: unawaited
                        await release(charge(8))  # breaks: unawaited
                async with open_nursery() as nursery:
                    nursery.go(charge(9))  # breaks: unawaited
                    nursery.start_soon(branch())  # breaks: unawaited
                charge.using(name="c")(10)  # breaks: unawaited
                handle, other = nursery.go(charge, 1), nursery.go(charge, 2)
                handle.result()  # breaks: unawaited
                other.receive()  # breaks: unawaited
                async with nurselog.open_stream("tokens") as stream:
                    stream.send("a")  # breaks: unawaited
                    stream.send_all("bc")  # breaks: unawaited
                await tell("d", stream)
                box, answer = nurselog.mailbox("orders"), nurselog.promise()
                box.receive()  # breaks: unawaited
                nurselog.updates("orders").receive()  # breaks: unawaited
                answer.result()  # breaks: unawaited
                return charge(11)  # breaks: unawaited
        """,
        """
        async def branch():
            await charge(1)
        async def several():
            yield 1
        def plain():
            return charge(1)
        async def wait_for(one):
            return await one
        class Account:
            @step
            async def deposit(self, cents): ...
            @workflow
            async def flow(self, cents):
                await self.deposit(1)
                later = charge(1)
                calls = [charge(2), charge(3)]
                for call in calls:
                    await call
                charge(4).close()
                charge(4).__await__()
                nurselog.publish("state", later)
                nurselog.expose(later)
                (await nurselog.updates("orders").receive()).answer(later)
                async with nurselog.open_stream("tokens") as stream:
                    await stream.send("a")
                    stream.close()
                handle = nursery.go(charge, 1)
                handle.cancel()
                await handle.result()
                cents.result()
                cents.x.result()
                future = other = object()
                future.result()
                async for one in several():
                    several()
                async with open_nursery() as nursery:
                    nursery.go(charge, 5)
                    nursery.start_soon(wait_for, charge(6))
                await nurselog.race(lambda: charge(7), branch)
                await plain()
                if await charge(8):
                    return (await charge(9)).price
                async def later_on():
                    await later
                return await charge.using(name="c")(10)
        """,
    ),
]

"""Pairs of snippets, one wrong and one right: cancellations that are swallowed, and cleanup without a shield."""

from __future__ import annotations

from tests.check.kit import Pair

PAIRS = [
    Pair(
        "a cancellation that is swallowed",
        """
        import contextlib, logging
        @step
        async def undo():
            raise ValueError
        @workflow
        async def flow():
            try:
                await charge(1)
            except trio.Cancelled:  # breaks: swallowed-cancellation
                with CancelScope(shield=True):
                    await undo()
            try:
                await charge(1)
            except (ValueError, BaseException) as exc:  # breaks: swallowed-cancellation
                print(f"{exc}", exc)
                logging.warning("oh", exc)
                seen = exc.args
            try:
                await charge(1)
            except:  # breaks: swallowed-cancellation
                return "done"
            with contextlib.suppress(ValueError, trio.Cancelled):  # breaks: swallowed-cancellation
                await charge(1)
            while True:
                try:
                    await sleep(5)
                except nurselog.Suspended:  # breaks: swallowed-cancellation
                    break
            try:
                await charge(1)
            except* BaseException:  # breaks: swallowed-cancellation
                pass
            finally:
                return 5  # breaks: swallowed-cancellation
        """,
        """
        import contextlib
        def give_up():
            raise ValueError
        @workflow
        async def flow(items):
            try:
                await charge(1)
            except trio.Cancelled:
                give_up()
            try:
                await charge(1)
            except trio.Cancelled:
                print("cancelled")
                raise
            except Exception:
                pass
            try:
                await charge(1)
            except BaseException as exc:
                kept = exc
            else:
                kept = None
            try:
                await charge(1)
            except BaseException as exc:
                items.append(exc)
            try:
                int("x")
            except BaseException:
                pass
            with contextlib.suppress(ValueError), open_nursery:
                await charge(1)
            with contextlib.suppress(BaseException):
                int("x")
            if kept:
                raise kept
            try:
                await charge(1)
            except* ValueError:
                pass
            finally:
                print("over")
        """,
    ),
    Pair(
        "cleanup without a shield",
        """
        from contextlib import asynccontextmanager
        async def undo():
            async with open_nursery() as nursery:
                nursery.go(release, "it")
        @asynccontextmanager
        async def reserved():
            try:
                yield
            finally:
                await undo()  # breaks: unshielded-cleanup
        @workflow
        async def flow():
            try:
                async with reserved():
                    await charge(1)
            except BaseException:
                await release("it")  # breaks: unshielded-cleanup
                raise
            try:
                await charge(1)
            finally:
                if await charge(2):  # breaks: unshielded-cleanup
                    with move_on_after(5):
                        async with open_nursery() as nursery:  # breaks: unshielded-cleanup
                            pass
        """,
        """
        from contextlib import asynccontextmanager
        async def undo():
            with CancelScope(shield=True):
                await release("it")
        async def pay():
            try:
                await charge(1)
            finally:
                await release("it")
        @asynccontextmanager
        async def shielded():
            with trio.CancelScope(shield=True):
                yield
        @workflow
        async def flow(lock):
            try:
                await charge(1)
            except BaseException:
                with CancelScope(shield=True):
                    await release("it")
                raise
            try:
                await charge(1)
            finally:
                with move_on_after(30) as scope:
                    scope.shield = True
                    await release("it")
                await undo()
                await lock.acquire()
                async with shielded():
                    await release("it")
            try:
                await charge(1)
            except Exception:
                await release("it")
            try:
                print("x")
            finally:
                await release("it")
            try:
                print("x")
            except BaseException:
                await release("it")
            with CancelScope(shield=True):
                await pay()
                try:
                    await charge(1)
                finally:
                    await release("it")
        """,
    ),
    Pair(
        "clauses behind one that passes cancellations on",
        """
        @workflow
        async def flow():
            try:
                await charge(1)
            except trio.Cancelled:
                raise
            except BaseException:  # breaks: swallowed-cancellation
                await release("it")  # breaks: unshielded-cleanup
        """,
        """
        @workflow
        async def flow():
            try:
                await charge(1)
            except (trio.Cancelled, nurselog.Suspended):
                raise
            except BaseException:
                await release("it")
        """,
    ),
]

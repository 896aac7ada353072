"""Figures as tables of text."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.plan import WINDOW, Bar, Case, Measured, Peer, Sample, Series, Unit

OFTEN = 8
"""How many statements are shown, the most frequent ones."""
LINE = 70
"""How many characters of each."""


def table(rows: Sequence[Sequence[str]]) -> str:
    """Set rows below each other, the first column to the left and figures to the right; a line below the titles."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ])
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], ""])


def figure(case: Case, sample: Sample | None) -> str:
    if sample is None:
        return ""
    if case.unit is Unit.RATE:
        return f"{sample.rate:,.0f} /s"
    return span(sample.seconds) + (f" (p99 {span(sample.p99)})" if sample.p99 else "")


def span(seconds: float) -> str:
    return f"{seconds:,.3f} s" if seconds >= 1 else f"{seconds * 1e3:,.2f} ms"


def faster(case: Case, measured: Measured, peer: Peer) -> float | None:
    """How many times as fast as a peer nurselog is."""
    ours, theirs = measured.get(case.ours), measured.get(peer)
    return theirs.seconds / ours.seconds if ours and theirs else None


def times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:,.2f} x" if ratio < 10 else f"{ratio:,.0f} x"


def reached(case: Case, measured: Measured, bar: Bar) -> bool | None:
    """Whether a bar is reached; None where it was not measured."""
    ours = measured.get(case.ours)
    if bar.against is not None:
        ratio = faster(case, measured, bar.against)
        return None if ratio is None else ratio >= bar.limit
    if ours is None:
        return None
    return ours.rate >= bar.limit if case.unit is Unit.RATE else ours.seconds <= bar.limit


def wanted(case: Case, bar: Bar) -> str:
    if bar.against is not None:
        return f"{bar.limit:g} x {bar.against.value}"
    return f"{bar.limit:,.0f} /s" if case.unit is Unit.RATE else f"{bar.limit * 1e3:g} ms"


def verdict(case: Case, measured: Measured, *, judged: bool) -> str:
    """List a case's bars, each with what became of it."""
    words = {True: "yes", False: "NO", None: "?"}
    said = [wanted(case, bar) + (f": {words[reached(case, measured, bar)]}" if judged else "") for bar in case.bars]
    return ", ".join(said)


def compared(rows: Sequence[tuple[Case, int, Measured]], *, judged: bool) -> str:
    """Show all peers side by side, how many times as fast as they nurselog is, and the bars."""
    peers = [peer for peer in Peer if any(peer in case.peers for case, _, _ in rows)]
    others = [peer for peer in peers if not any(peer is case.ours for case, _, _ in rows)]
    title = ["", *(peer.value for peer in peers), *(f"vs {peer.value}" for peer in others), "bars"]
    lines = [
        [
            case.title.format(size),
            *(figure(case, measured.get(peer)) for peer in peers),
            *(times(faster(case, measured, peer)) for peer in others),
            verdict(case, measured, judged=judged),
        ]
        for case, size, measured in rows
    ]
    return table([title, *lines])


def growth(series: Series, samples: Sequence[Sample]) -> str:
    """Show what each of many costs, in time and memory."""
    title = [series.title, "seconds", "us each", "MB", "bytes each"]
    lines = [
        [
            f"{sample.count:,}",
            f"{sample.seconds:,.2f}",
            f"{sample.seconds / sample.count * 1e6:,.0f}",
            f"{sample.memory / 1e6:,.1f}",
            f"{sample.memory / sample.count:,.0f}",
        ]
        for sample in samples
    ]
    return table([title, *lines])


def host(rows: Sequence[tuple[str, Sample]]) -> str:
    """Show what a checkpoint costs the host's own task, and how late its ticks come."""
    title = ["the host's own task, beside", "us a checkpoint", "a tick late by, p99, ms"]
    lines = [
        [title, f"{sample.seconds / sample.count * 1e6:,.2f}", f"{sample.late * 1e3:,.2f}"] for title, sample in rows
    ]
    return table([title, *lines])


def server(rows: Sequence[tuple[str, Sample]]) -> str:
    """Show what the server had to do, by its own statistics."""
    title = ["what it costs the server", "how many", "commits each", "statements each", "rows each", "WAL bytes each"]
    lines = [
        [
            title,
            f"{sample.count:,}",
            f"{sample.commits / sample.count:,.2f}",
            f"{calls(sample) / sample.count:,.2f}" if sample.statements else "?",
            f"{sample.rows / sample.count:,.2f}",
            f"{sample.wal / sample.count:,.0f}",
        ]
        for title, sample in rows
    ]
    return table([title, *lines])


def calls(sample: Sample) -> int:
    return sum(sample.statements.values())


def idle(rows: Sequence[tuple[str, Sample]]) -> str:
    """Show what the server is asked, and in which words most often; its own house-keeping commits, too."""
    title = ["what the server is asked by", "commits/s", "statements/s", "kB each"]
    lines: list[list[str]] = []
    for name, sample in rows:
        often = sorted(sample.statements.items(), key=lambda item: -item[1])[:OFTEN]
        asked = [f"{sample.commits / sample.seconds:,.2f}", f"{calls(sample) / sample.seconds:,.2f}"]
        lines.append([name, *asked, f"{sample.memory / sample.count / 1e3:,.1f}" if sample.memory else ""])
        lines += [[f"  {text[:LINE]}", "", f"{count / sample.seconds:,.2f}", ""] for text, count in often]
    return table([title, *lines])


def sleepers(title: str, samples: Sequence[Sample]) -> str:
    """Show that sleepers cost an engine nothing but rows."""
    titles = [title, "s to open", "MB of the process", "one wakes late, ms", "100 have ended late, ms", "statements/s"]
    lines = [
        [
            f"{sample.count:,}",
            f"{sample.seconds:,.3f}",
            f"{sample.memory / 1e6:,.1f}",
            f"{sample.late * 1e3:,.1f}",
            f"{sample.last * 1e3:,.1f}",
            f"{calls(sample) / WINDOW:,.2f}",
        ]
        for sample in samples
    ]
    return table([titles, *lines])


def scaling(rows: Sequence[tuple[int, Sample]], processors: int) -> str:
    """Show how the work of several engines adds up, what is busy meanwhile, and what a workflow costs both sides."""
    busy = ["engines' CPUs", "server's CPUs", f"of {processors} busy"]
    title = ["engines on one store", "workflows/s", "vs one", *busy, "engine ms each", "server ms each"]
    alone = next((sample for engines, sample in rows if engines == 1), None)
    lines = [
        [
            f"{engines}",
            f"{sample.rate:,.0f}",
            times(sample.rate / alone.rate if alone else None),
            f"{sample.engines:,.2f}",
            f"{sample.server:,.2f}",
            f"{sample.machine:,.2f}",
            f"{sample.engines / sample.rate * 1e3:,.2f}",
            f"{sample.server / sample.rate * 1e3:,.2f}",
        ]
        for engines, sample in rows
    ]
    return table([title, *lines])

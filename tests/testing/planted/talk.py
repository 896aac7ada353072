"""What the workflows whose code has changed ask for, and what is answered while their logs are written."""

from __future__ import annotations

from typing import Any

from nurselog import step


@step
async def ask(question: str) -> str:
    raise AssertionError("the real one")


@step
async def weigh(item: str) -> int:
    raise AssertionError("the real one")


@step
async def refuse(question: str) -> str:
    raise AssertionError("the real one")


def answer(question: str) -> str:
    return question.upper()


def refusal(question: str) -> str:
    raise ValueError(question)


FAKES: dict[Any, Any] = {ask: answer, weigh: len, refuse: refusal}


async def three_questions() -> str:
    return await ask("one") + await ask("two") + await ask("three")

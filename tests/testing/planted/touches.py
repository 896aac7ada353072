"""What workflow code touches and no log has, and which was the same in all lives of a search: the sanitizer sees it."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from nurselog import Workflow, now, rng, step, workflow
from nurselog.testing import Kind
from tests.testing.planted.world import book


@dataclass(frozen=True)
class Touching:
    """A workflow that touches what no log has."""

    wrong: Workflow[..., Any]
    mended: Workflow[..., Any]
    kind: Kind


touching: list[Touching] = []

CLOSING_TIME = datetime(2020, 1, 1, tzinfo=UTC)
LETTER = Path(gettempdir()) / "a letter of a planted workflow"


@workflow
async def the_wall_clock_in_a_condition() -> None:
    if datetime.now(UTC) > CLOSING_TIME:  # here, check: wall-clock
        await book("for tomorrow")


@workflow
async def the_runs_own_clock_in_a_condition() -> None:
    if now() > CLOSING_TIME:
        await book("for tomorrow")


touching.append(Touching(the_wall_clock_in_a_condition, the_runs_own_clock_in_a_condition, Kind.CLOCK))


@workflow
async def a_stopwatch_in_a_condition() -> None:
    began = time.monotonic()  # here, check: wall-clock
    await book("it")
    if time.monotonic() - began > 60:  # here, check: wall-clock
        await book("another")


@workflow
async def a_stopwatch_of_the_runs_own() -> None:
    began = now()
    await book("it")
    if (now() - began).total_seconds() > 60:
        await book("another")


touching.append(Touching(a_stopwatch_in_a_condition, a_stopwatch_of_the_runs_own, Kind.CLOCK))


@workflow
async def a_die_in_a_condition() -> None:
    if random.random() < 2:  # here, check: random
        await book("it")


@workflow
async def a_die_of_the_runs_own() -> None:
    if rng().random() < 2:
        await book("it")


touching.append(Touching(a_die_in_a_condition, a_die_of_the_runs_own, Kind.RANDOM))


@workflow
async def the_environment_in_a_condition() -> None:
    if os.environ.get("BRANCH") is None:  # here, check: environment
        await book("it")


@step
async def read_environment(name: str) -> str | None:
    return os.environ.get(name)


@workflow
async def the_environment_in_a_step() -> None:
    if await read_environment("BRANCH") is None:
        await book("it")


touching.append(Touching(the_environment_in_a_condition, the_environment_in_a_step, Kind.ENVIRONMENT))


@workflow
async def the_name_of_the_machine() -> None:
    await book(socket.gethostname())  # here, check: environment


@step
async def name_of_the_machine() -> str:
    return socket.gethostname()


@workflow
async def the_name_of_the_machine_from_a_step() -> None:
    await book(await name_of_the_machine())


touching.append(Touching(the_name_of_the_machine, the_name_of_the_machine_from_a_step, Kind.ENVIRONMENT))


@workflow
async def the_number_of_the_process() -> None:
    await book(str(os.getpid()))  # here, check: environment


@workflow
async def the_number_of_the_process_for_the_log_file() -> None:
    await book("it")
    await write(str(os.getpid))


@step
async def write(text: str) -> None:
    LETTER.write_text(text)


touching.append(Touching(the_number_of_the_process, the_number_of_the_process_for_the_log_file, Kind.ENVIRONMENT))


@workflow
async def a_file_written_outside_of_a_step() -> None:
    await book("it")
    LETTER.write_text("booked")  # here


@workflow
async def a_file_written_in_a_step() -> None:
    await book("it")
    await write("booked")


touching.append(Touching(a_file_written_outside_of_a_step, a_file_written_in_a_step, Kind.FILE))


@workflow
async def the_files_of_a_folder() -> None:
    for name in sorted(os.listdir(gettempdir()))[:1]:  # here, check: effect
        await book(name)


@step
async def first_file() -> list[str]:
    return sorted(os.listdir(gettempdir()))[:1]


@workflow
async def the_files_of_a_folder_from_a_step() -> None:
    for name in await first_file():
        await book(name)


touching.append(Touching(the_files_of_a_folder, the_files_of_a_folder_from_a_step, Kind.FILE))


@workflow
async def a_file_that_is_there() -> None:
    if not Path("paid").exists():  # here, check: effect
        await book("it")


@step
async def is_there(name: str) -> bool:
    return Path(name).exists()


@workflow
async def a_file_that_a_step_looks_for() -> None:
    if not await is_there("paid"):
        await book("it")


touching.append(Touching(a_file_that_is_there, a_file_that_a_step_looks_for, Kind.FILE))


@workflow
async def a_request_outside_of_a_step() -> None:
    with socket.socket() as there:  # check: effect
        there.connect_ex(("127.0.0.1", 9))  # here
    await book("it")


@step
async def request() -> int:
    with socket.socket() as there:
        return there.connect_ex(("127.0.0.1", 9))


@workflow
async def a_request_in_a_step() -> None:
    await request()
    await book("it")


touching.append(Touching(a_request_outside_of_a_step, a_request_in_a_step, Kind.NETWORK))


@workflow
async def a_program_outside_of_a_step() -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)  # here, check: effect
    await book("it")


@step
async def run_program() -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)


@workflow
async def a_program_in_a_step() -> None:
    await run_program()
    await book("it")


touching.append(Touching(a_program_outside_of_a_step, a_program_in_a_step, Kind.PROCESS))

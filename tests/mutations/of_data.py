"""Bugs in what becomes of the application's values: in codecs, and where these are asked."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

DATA = "tests/data/test_"

OF_DATA = (
    Mutant(
        name="key-lost-work-lost",
        breaks="a workflow that meets what cannot be read here and now waits, and does not fail",
        file="_flow/inbox.py",
        before=(
            "        except ValueUnavailable as exc:\n"
            "            sequencer.stuck(trouble.unreadable(sequencer, named, self.event.path, exc))\n"
            "            raise Suspended from exc\n"
        ),
        after="",
        tests=(f"{DATA}unavailable.py::test_a_message_that_comes_now",),
    ),
    Mutant(
        name="other-bytes-other-call",
        breaks="the same id with the same input is the same run, whatever bytes the codec makes",
        file="_engine/pen.py",
        before=" or first == second",
        after="",
        tests=(f"{DATA}same_call.py::test_the_same_call_again",),
    ),
    Mutant(
        name="fork-of-any-input",
        breaks="a fork is no run of its input",
        file="_engine/pen.py",
        before="if any(digest(one.input) != one.digest for one in inputs):",
        after="if digest(inputs[0].input) != inputs[0].digest:",
        tests=(f"{DATA}same_call.py::test_a_fork_is_no_run_of_its_input",),
    ),
    Mutant(
        name="half-a-file",
        breaks="a file is whole before it has its name",
        file="codecs/files.py",
        before="        handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=self._folder)\n",
        after="        handle, temporary = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), str(path)\n",
        tests=(f"{DATA}files.py::test_a_writer_that_fails_leaves_what_is_there",),
    ),
    Mutant(
        name="old-by-then",
        breaks="a file that comes into use while a sweep looks stays",
        file="codecs/sweeping.py",
        before="            if found.st_mtime < before:\n",
        after="            if found.st_mtime:\n",
        tests=(f"{DATA}sweep.py::test_a_file_that_is_used_while_a_sweep_looks_is_kept",),
    ),
    Mutant(
        name="used-and-old",
        breaks="a file that is used again is young",
        file="codecs/files.py",
        before="            os.utime(path)\n",
        after="",
        tests=(f"{DATA}sweep.py::test_a_file_that_is_used_while_a_sweep_looks_is_kept",),
    ),
    Mutant(
        name="mail-overlooked",
        breaks="a sweep looks at messages that wait",
        file="codecs/sweeping.py",
        before="[*traces.values, *(msgspec.json.decode(body, type=Body).value for body in traces.bodies)]",
        after="list(traces.values)",
        tests=(f"{DATA}sweep.py::test_messages_that_wait_are_looked_at",),
    ),
    Mutant(
        name="mark-for-mark",
        breaks="what an inner codec marks does not pass for what the outer one has marked",
        file="codecs/compressed.py",
        before="        return packed if marked or len(packed) < len(data) else data\n",
        after="        return packed if len(packed) < len(data) else data\n",
        tests=(f"{DATA}compressed.py::test_what_an_inner_codec_writes_does_not_pass_for_compressed",),
    ),
    Mutant(
        name="asterisks",
        breaks="nothing is recorded that does not come back",
        file="_log/codec.py",
        before="    if MASK in data:\n",
        after="    if data == MASK:\n",
        tests=("tests/docs/test_data_page.py::test_what_is_refused_is_refused",),
    ),
)

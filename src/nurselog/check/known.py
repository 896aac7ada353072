"""What is known of the names of others: what they do when workflow code calls or reads them."""

from __future__ import annotations

from collections.abc import Mapping

from .rules import Rule


def _words(text: str) -> list[str]:
    return text.split()


def _in(module: str, names: str) -> list[str]:
    return [f"{module}.{name}" for name in _words(names)]


_TABLE: Mapping[Rule, list[str]] = {
    Rule.PLAIN_SLEEP: [
        *_in("trio", "sleep sleep_until"),
        *_in("anyio", "sleep sleep_until"),
        *_in("asyncio", "sleep"),
        *_in("time", "sleep"),
    ],
    Rule.PLAIN_DEADLINE: [
        *_in("trio", "move_on_after move_on_at fail_after fail_at"),
        *_in("anyio", "move_on_after fail_after"),
        *_in("asyncio", "timeout timeout_at wait_for"),
    ],
    Rule.WALL_CLOCK: [
        *_in("time", "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns"),
        *_in("datetime", "datetime.now datetime.utcnow datetime.today date.today"),
        *_in("trio", "current_time"),
        *_in("anyio", "current_time"),
    ],
    Rule.RANDOM: [
        *_in("random", "betavariate binomialvariate choice choices expovariate gammavariate gauss getrandbits"),
        *_in("random", "lognormvariate normalvariate paretovariate randbytes randint random randrange sample seed"),
        *_in("random", "shuffle triangular uniform vonmisesvariate weibullvariate SystemRandom"),
        *_in("secrets", "choice randbelow randbits token_bytes token_hex token_urlsafe SystemRandom"),
        *_in("uuid", "uuid1 uuid4 uuid6 uuid7"),
        *_in("os", "urandom getrandom"),
        *_in("numpy.random", "bytes choice exponential integers normal permutation poisson rand randint randn random"),
        *_in("numpy.random", "random_sample seed shuffle standard_normal uniform"),
    ],
    Rule.ENVIRONMENT: [
        *_in("os", "getenv getenvb getpid getppid getcwd cpu_count process_cpu_count"),
        *_in("multiprocessing", "cpu_count"),
        *_in("platform", "node"),
        *_in("socket", "gethostname getfqdn"),
    ],
    Rule.EFFECT: [
        *_in("builtins", "open input"),
        *_in("io", "open"),
        *_in("os", "system popen kill listdir scandir walk stat remove unlink rename replace mkdir makedirs rmdir"),
        *_in("os", "removedirs chmod chown link symlink truncate utime open"),
        *_in("os.path", "exists isfile isdir islink getsize getmtime getatime getctime"),
        *_in("shutil", "copy copy2 copyfile copytree move rmtree disk_usage which make_archive unpack_archive"),
        *_in("glob", "glob iglob"),
        *_in("tempfile", "mkstemp mkdtemp TemporaryFile NamedTemporaryFile TemporaryDirectory"),
        *_in("subprocess", "run call check_call check_output getoutput getstatusoutput Popen"),
        *_in("threading", "Thread Timer"),
        *_in("concurrent.futures", "ThreadPoolExecutor ProcessPoolExecutor"),
        *_in("socket", "create_connection create_server getaddrinfo gethostbyname socket"),
        *_in("urllib.request", "urlopen urlretrieve"),
        *_in("requests", "get post put patch delete head options request"),
        *_in("httpx", "get post put patch delete head options request stream"),
        *_in("aiohttp", "request"),
        *_in("sqlite3", "connect"),
        *_in("psycopg", "connect Connection.connect AsyncConnection.connect"),
        *_in("psycopg2", "connect"),
        *_in("asyncpg", "connect create_pool"),
        *_in("asyncio", "to_thread open_connection create_subprocess_exec create_subprocess_shell"),
        *_in("trio", "open_file run_process to_thread.run_sync lowlevel.open_process open_signal_receiver"),
        *_in("trio", "open_tcp_stream open_tcp_listeners serve_tcp open_unix_socket"),
        *_in("trio", "open_ssl_over_tcp_stream open_ssl_over_tcp_listeners serve_ssl_over_tcp"),
        *_in("trio.socket", "getaddrinfo getnameinfo"),
        *_in("anyio", "open_file run_process open_process open_signal_receiver"),
        *_in("anyio", "to_thread.run_sync to_process.run_sync to_interpreter.run_sync"),
        *_in("anyio", "connect_tcp connect_unix create_tcp_listener create_unix_listener create_udp_socket"),
        *_in("anyio", "getaddrinfo getnameinfo"),
    ],
}

BREAKS: Mapping[str, Rule] = {name: rule for rule, names in _TABLE.items() for name in names}
"""What must not be called in workflow code."""

BREAKS_WITHOUT_ARGUMENTS: Mapping[str, Rule] = {
    "numpy.random.RandomState": Rule.RANDOM,
    "numpy.random.default_rng": Rule.RANDOM,
    "random.Random": Rule.RANDOM,
    "time.ctime": Rule.WALL_CLOCK,
    "time.gmtime": Rule.WALL_CLOCK,
    "time.localtime": Rule.WALL_CLOCK,
}
"""What must not be called without arguments: a seed, a time."""

BREAKS_WHEN_READ: Mapping[str, Rule] = dict.fromkeys(("os.environ", "os.environb", "sys.argv"), Rule.ENVIRONMENT)
"""What must not even be looked at."""

NO_WAIT = frozenset(_in("trio", "sleep") + _in("anyio", "sleep"))
"""Sleeps that are plain checkpoints for zero seconds, which workflow code may have."""

NO_DEADLINE = frozenset({"math.inf"})
"""Deadlines that are none."""

SCOPES = frozenset({"trio.CancelScope", "anyio.CancelScope"})
DEADLINES = frozenset({"deadline", "relative_deadline"})
"""What gives a plain scope a deadline."""

_PATH_METHODS = frozenset(
    _words("chmod exists glob hardlink_to is_dir is_file iterdir mkdir open read_bytes read_text rename replace rglob")
    + _words("rmdir stat symlink_to touch unlink write_bytes write_text")
)
_HTTP_METHODS = frozenset(_words("delete get head options patch post put request send stream ws_connect"))
METHODS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("pathlib.Path", "trio.Path", "anyio.Path"), _PATH_METHODS),
    **dict.fromkeys(
        ("httpx.Client", "httpx.AsyncClient", "requests.Session", "requests.session", "aiohttp.ClientSession"),
        _HTTP_METHODS,
    ),
}
"""What is an effect among the methods of what was made so."""

WAITS = frozenset(_in("nurselog", "sleep sleep_until select gather race map_concurrently send submit resolve reject"))
"""Durable operations that are awaited."""

METHODS_THAT_WAIT: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(_in("nurselog", "open_stream Stream"), frozenset({"aclose", "send", "send_all"})),
    "nurselog.mailbox": frozenset({"receive"}),
    "nurselog.promise": frozenset({"receive", "result"}),
    "nurselog.updates": frozenset({"receive"}),
}
"""What is awaited among the methods of what was made so."""

STEPS = frozenset(_in("nurselog", "step transaction"))
"""What makes a step of a function."""

RUNS = frozenset(
    _in("nurselog", "race map_concurrently")
    + _in("functools", "partial")
    + _in("builtins", "map filter sorted min max")
)
"""What calls functions that it is given, in workflow code."""

SPAWNERS = frozenset({"go", "start_soon", "start", "push_async_callback", "callback"})
"""Methods of nurseries, task groups and exit stacks that call the function that they are given first."""

CANCELLATIONS = frozenset({
    "builtins.BaseException",
    "trio.Cancelled",
    "anyio.get_cancelled_exc_class",
    "nurselog.Suspended",
})
"""What an `except` clause must not catch for good."""

WRAPPERS = (
    *_in("contextlib", "contextmanager asynccontextmanager"),
    *_in("functools", "wraps cache lru_cache"),
    *_in("typing", "overload final override no_type_check"),
    *_in("builtins", "staticmethod classmethod property"),
)
"""Decorators below which a function is still what it looks like."""

CONTAINERS = frozenset(
    _in("builtins", "list dict set bytearray") + _in("collections", "Counter OrderedDict defaultdict deque ChainMap")
)
CHANGES = frozenset(
    _words("add append appendleft clear difference_update discard extend extendleft insert intersection_update")
    + _words("move_to_end pop popitem popleft remove reverse rotate setdefault sort subtract")
    + _words("symmetric_difference_update update")
)
"""Methods that change a container."""

MEETINGS = frozenset(
    _in("trio", "CapacityLimiter Condition Event Lock Semaphore StrictFIFOLock")
    + _in("anyio", "CapacityLimiter Condition Event Lock Semaphore")
)
"""What makes something at which tasks wait for each other. Workflows that do are woken by what no log has."""

ITERATORS = frozenset(
    _in("itertools", "count cycle repeat chain islice") + _in("builtins", "iter enumerate zip map filter")
)
"""What makes an iterator, which `next` moves on."""

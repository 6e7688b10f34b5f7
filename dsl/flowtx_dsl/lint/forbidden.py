"""The names a workflow may not call or read, each with the rule it breaks.

The law of this file: tables only. A name stands for everything below it (``random`` for ``random.choice``), unless
something longer is listed; None lets a name pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from flowtx_dsl.lint.rules import BLOCKING_SLEEP, CLOCK, DICE, ENVIRONMENT, EVENT_LOOP, IDENTITY, IO, THREADS, Rule


def _under(prefix: str, names: str) -> list[str]:
    return [f"{prefix}.{name}" for name in names.split()]


_CLOCK = [
    *_under("time", "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns"),
    *_under(
        "time", "thread_time thread_time_ns clock_gettime clock_gettime_ns localtime gmtime ctime asctime strftime"
    ),
    *_under("datetime.datetime", "now utcnow today"),
    *_under("arrow", "now utcnow"),
    *_under("pendulum", "now today tomorrow yesterday"),
    *_under("pandas.Timestamp", "now today utcnow"),
    *(
        "datetime.date.today",
        "django.utils.timezone.now",
        "email.utils.localtime",
        "email.utils.formatdate",
        "os.times",
    ),
]
_DICE = [
    *("random", "secrets", "numpy.random", "os.urandom", "os.getrandom", "email.utils.make_msgid", "ssl.RAND_bytes"),
    *_under("uuid", "uuid1 uuid4 uuid6 uuid7"),
]
_ENVIRONMENT = [
    *_under(
        "os", "getenv getenvb getpid getppid getcwd getcwdb getlogin getuid geteuid getgid getpgid uname cpu_count"
    ),
    *_under("os", "getloadavg sched_getaffinity process_cpu_count putenv unsetenv chdir umask"),
    *_under("os.path", "abspath expanduser expandvars"),
    *_under("sys", "getrefcount _getframe"),
    *_under("pathlib.Path", "cwd home"),
    *_under("socket", "gethostname getfqdn"),
    *("platform", "getpass.getuser", "locale", "psutil", "uuid.getnode", "importlib.metadata", "gc", "tracemalloc"),
]
_IO = [
    *_under("builtins", "open input"),
    *_under("io", "open open_code FileIO"),
    *_under("os", "open read write close remove unlink rename renames replace mkdir makedirs rmdir removedirs stat"),
    *_under("os", "lstat access chmod chown link symlink readlink truncate utime statvfs sync fsync fdopen pipe"),
    *_under("os", "listdir scandir walk fwalk mkfifo sendfile get_terminal_size"),
    *_under(
        "os.path", "exists lexists isfile isdir islink ismount getsize getmtime getatime getctime realpath samefile"
    ),
    *(
        "glob",
        "shutil",
        "tempfile",
        "fileinput",
        "linecache",
        "mmap",
        "select",
        "selectors",
        "socket",
        "ssl",
        "sqlite3",
    ),
    *("dbm", "shelve", "zipfile", "tarfile", "getpass.getpass", "gzip.open", "bz2.open", "lzma.open", "webbrowser"),
    *(
        "urllib.request",
        "http.client",
        "http.server",
        "ftplib",
        "imaplib",
        "poplib",
        "smtplib",
        "socketserver",
        "xmlrpc.client",
    ),
    *("requests", "httpx", "aiohttp", "urllib3", "niquests", "grpc", "paramiko", "boto3", "botocore", "kafka", "pika"),
    *("psycopg", "psycopg2", "asyncpg", "pymysql", "MySQLdb", "aiomysql", "aiosqlite", "mysql", "pymongo", "motor"),
    *("redis", "cassandra", "duckdb", "aiofiles", "sqlalchemy.create_engine", "sqlalchemy.orm.Session"),
    *("sqlalchemy.orm.sessionmaker", "sqlalchemy.ext.asyncio"),
]
_THREADS = [
    *("threading", "_thread", "multiprocessing", "concurrent", "subprocess", "signal", "queue", "sched"),
    *_under(
        "os", "fork forkpty system popen kill killpg wait waitpid posix_spawn posix_spawnp startfile abort _exit nice"
    ),
    *_under(
        "os", "execl execle execlp execlpe execv execve execvp execvpe spawnl spawnle spawnlp spawnv spawnve spawnvp"
    ),
]
_EVENT_LOOPS = ["trio", "asyncio", "anyio", "curio", "gevent", "eventlet", "twisted"]
_PURE = [
    *("httpx.URL", "httpx.Headers", "httpx.Timeout", "httpx.QueryParams", "subprocess.list2cmdline", "grpc.StatusCode"),
    *("queue.PriorityQueue", "glob.escape", "asyncio.iscoroutinefunction", "asyncio.iscoroutine", "signal.Signals"),
    *_under("socket", "inet_aton inet_ntoa inet_pton inet_ntop htons htonl ntohs ntohl"),
    *_under("concurrent.futures", "Future"),
]

CALLS: Mapping[str, Rule | None] = MappingProxyType(
    {
        **dict.fromkeys(_CLOCK, CLOCK),
        **dict.fromkeys(_DICE, DICE),
        **dict.fromkeys(_ENVIRONMENT, ENVIRONMENT),
        **dict.fromkeys(_IO, IO),
        **dict.fromkeys(_THREADS, THREADS),
        **dict.fromkeys(_EVENT_LOOPS, EVENT_LOOP),
        **dict.fromkeys(["builtins.id", "builtins.hash"], IDENTITY),
        "time.sleep": BLOCKING_SLEEP,
        **dict.fromkeys(_PURE),
    }
)
"""What may not be called."""

VALUES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(["os.environ", "os.environb", "sys.argv", "sys.orig_argv", "sys.flags"], ENVIRONMENT),
        "sys.stdin": IO,
    }
)
"""What may not even be read."""

GIVEN: Mapping[str, int] = MappingProxyType(
    {
        "random.Random": 1,
        "numpy.random.default_rng": 1,
        "time.localtime": 1,
        "time.gmtime": 1,
        "time.ctime": 1,
        "time.asctime": 1,
        "time.strftime": 2,
        "email.utils.localtime": 1,
        "email.utils.formatdate": 1,
    }
)
"""What may be called with so many arguments, because then it works on what it is given."""

INSTEAD: Mapping[str, str] = MappingProxyType(
    {
        **{
            f"{loop}.{name}": remedy
            for loop in ("trio", "asyncio", "anyio")
            for name, remedy in {
                "sleep": "Write await tx.sleep(seconds).",
                "sleep_until": "Write await tx.sleep_until(instant).",
                "sleep_forever": "Wait for something: await tx.signal(...).",
                "open_nursery": "Write async with tx.open_nursery() as nursery.",
                "create_task_group": "Write async with tx.open_nursery() as nursery.",
                "TaskGroup": "Write async with tx.open_nursery() as nursery.",
                "gather": "Start the branches in a nursery: async with tx.open_nursery() as nursery.",
                "create_task": "Start the branch in a nursery: nursery.start_soon(branch, tx).",
                "wait_for": "Write with tx.fail_after(seconds).",
                "timeout": "Write with tx.fail_after(seconds).",
                "move_on_after": "Write with tx.move_on_after(seconds).",
                "fail_after": "Write with tx.fail_after(seconds).",
                "CancelScope": "Write tx.CancelScope(...).",
                "current_time": "Write tx.now().",
                "to_thread": "Call the function with tx.step(function, ...): sync functions run in a thread.",
            }.items()
        },
        "asyncio.to_thread": "Call the function with tx.step(function, ...): sync functions run in a thread.",
        "uuid.uuid4": "Write tx.uuid4().",
        "uuid.uuid1": "Write tx.uuid4().",
        "datetime.date.today": "Write tx.now().date().",
        "random": "Write the same on tx.random.",
    }
)
"""What to write instead, where more is known than the rule's own remedy."""

MAKERS = frozenset(
    {"default_rng", "connect", "create_engine", "create_async_engine", "sessionmaker", "socket", "from_url", "client"}
)
"""What gives an object that does I/O later, besides classes."""

_PATH_METHODS = (
    "absolute chmod cwd exists expanduser group hardlink_to is_dir is_file is_mount is_socket is_symlink iterdir lstat "
    "mkdir open owner read_bytes read_text readlink rename replace resolve rglob glob rmdir samefile stat symlink_to "
    "touch unlink walk write_bytes write_text"
)
PATH_METHODS = frozenset(_PATH_METHODS.split())
"""Methods of a ``pathlib.Path`` that ask or change the file system."""

LISTINGS = frozenset({"os.listdir", "os.scandir", "os.walk", "os.fwalk", "glob.glob", "glob.iglob"})
LISTING_METHODS = frozenset({"iterdir", "glob", "rglob", "walk"})


def lookup(name: str) -> tuple[str, Rule] | None:
    """The listed name that covers a dotted name, and its rule; None for what may be called."""
    whole = name
    while name:
        if name in CALLS:
            rule = CALLS[name]
            last = whole.rpartition(".")[2]
            # Exceptions of forbidden modules are values; a workflow may raise and catch them.
            harmless = last.endswith(("Error", "Exception", "Warning", "Cancelled"))
            return None if rule is None or harmless else (name, rule)
        name = name.rpartition(".")[0]
    return None


def instead_of(name: str) -> str:
    """What to write instead of a dotted name; empty when the rule's own remedy says it."""
    while name:
        if name in INSTEAD:
            return INSTEAD[name]
        name = name.rpartition(".")[0]
    return ""

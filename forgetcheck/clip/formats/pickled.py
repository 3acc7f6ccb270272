"""Read a pickle as an inert tree: no class is looked up and nothing is called.

A pickle is a program for a small stack machine whose instructions may import and call anything. This
machine has no such instructions: a global stays a `Name`, a call a `Made` that remembers what would have
been called. The opcodes are split by the standard library's pickletools, which executes nothing either.
"""

import pickletools
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_STEPS = 500_000  # opcodes; a training checkpoint of 1000 tensors with its optimiser has 100,000
_MAX_PAIRS = 500_000  # handed to old dictionaries in lists, which one opcode can repeat
_MAX_LINE = 65_536  # bytes of a text argument
MAX_TEXT = 40_000_000  # bytes of everything but storages; a text may take five times its bytes in memory
_BULK = (b"B", b"\x8e", b"\x96")  # opcodes of bytes, in which plain pickles keep their storages
_CONSTANT = re.compile(
    "(BIN)?INT[12]?|LONG[14]?|(BIN)?FLOAT|(SHORT_)?(BIN)?(STRING|BYTES|UNICODE)8?|BYTEARRAY8"
)
_CONSTANTS = frozenset(one.name for one in pickletools.opcodes if _CONSTANT.fullmatch(one.name))
_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_DICTIONARIES = ("collections.OrderedDict", "builtins.dict")
_SETS = ("builtins.set", "builtins.frozenset")
_KEYS = (str, int, float, bytes, type(None))  # hashing a tuple that doubles itself would take for ever
# No checkpoint calls these. Nothing would happen here if one did: its owner should hear of it all the same.
_FORBIDDEN = re.compile(
    r"""(os|posix|nt|sys|subprocess|shutil|pty|socket|webbrowser|runpy|importlib|codeop|ctypes|marshal
    |_?pickle|dill|cloudpickle|pip|asyncio|multiprocessing|timeit|pdb|bdb|urllib|ftplib|smtplib
    |builtins\.(eval|exec|compile|open|__import__|input|breakpoint)|io\.open|numpy\.load
    |types\.(FunctionType|CodeType)|code\.(interact|Interactive\w+)
    |torch\.(load|hub|package|jit\.load|jit\._serialization|serialization\.load|utils\.cpp_extension)
    )(\.|$)""",
    re.VERBOSE,
)


class Forbidden(ValueError):
    """The pickle calls something that no checkpoint needs; the argument is its name."""


@dataclass(frozen=True, eq=False, slots=True)
class Name:
    """A class or function that the pickle names."""

    path: str  # "torch._utils._rebuild_tensor_v2"


@dataclass(eq=False, slots=True)
class Made:
    """What calling `maker` would have made; filled while the pickle is read."""

    maker: Any
    arguments: Any
    state: Any = None
    entries: dict[Any, Any] | None = None  # what was set by key


@dataclass(frozen=True, eq=False, slots=True)
class Stored:
    """A persistent id: where torch keeps a storage outside of the pickle."""

    key: Any


class _Window:
    """A stretch of a file that never asks for more bytes than are there, whatever length is claimed."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.place = 0
        self.texts = 0  # bytes of them so far
        self.alone = b""  # the last byte read alone: before a long argument, that is its opcode

    def read(self, size: int) -> bytes:
        size = max(0, min(size, self.size - self.place))
        if self.alone not in _BULK:
            self.spend(size)
        content = self.file.read(size)
        self.place += len(content)
        if size == 1:
            self.alone = content
        return content

    def readline(self) -> bytes:
        content = self.file.readline(max(0, min(_MAX_LINE, self.size - self.place)))
        self.place += len(content)
        self.spend(len(content))
        return content

    def spend(self, size: int) -> None:
        self.texts += size
        if self.texts > MAX_TEXT:
            raise ValueError("too much text")

    def tell(self) -> int:
        return self.place


@dataclass(frozen=True)
class _Tree:
    """A whole pickle."""

    root: Any
    stored: list[Stored]  # every storage it mentions


def read_pickle(file: BinaryIO, size: int) -> _Tree:
    """Return the tree of the pickle that starts here, of at most `size` bytes, and stop right behind it.

    Raises ValueError, IndexError, KeyError or TypeError for a damaged one and Forbidden for a hostile one.
    """
    machine = _Machine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in a text: they are the file's, and harmless
        for step, (opcode, argument, _) in enumerate(pickletools.genops(_Window(file, size))):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                return _Tree(machine.stack.pop(), machine.stored)
            if step >= MAX_STEPS:
                raise ValueError("too many opcodes")
            machine.execute(opcode.name, argument)
    raise ValueError("no end")


class _Machine:
    """The stack, the memo and the opcodes that only build plain containers."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the open marks
        self.memo: dict[int, Any] = {}
        self.stored: list[Stored] = []
        self.pairs = 0  # flattened so far

    def execute(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(argument)
        elif name in _LITERALS:
            self.stack.append(_LITERALS[name])
        elif name in _FRESH:
            self.stack.append(_FRESH[name]())
        elif name in _COLLECTING:
            items = self.since_mark()  # swaps the stack, so it comes first
            self.stack.append(_COLLECTING[name](items))
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"opcode {name}")

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def pop_mark(self, _: Any) -> None:
        self.since_mark()

    def take(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("stack is too short")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def put(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, number: int) -> None:
        self.stack.append(self.memo[number])

    def pack(self, count: int) -> None:
        self.stack.append(tuple(self.take(count)))

    def name(self, argument: str) -> None:
        self.stack.append(_named(*argument.partition(" ")[::2]))

    def stacked_name(self, _: Any) -> None:
        self.stack.append(_named(*self.take(2)))

    def call(self, _: Any) -> None:
        self.make(*self.take(2))

    def call_with_keywords(self, _: Any) -> None:
        maker, arguments, _keywords = self.take(3)
        self.make(maker, arguments)

    def old_call(self, _: Any) -> None:
        maker, *arguments = self.since_mark()
        self.make(maker, tuple(arguments))

    def named_call(self, argument: str) -> None:
        arguments = tuple(self.since_mark())
        self.make(_named(*argument.partition(" ")[::2]), arguments)

    def make(self, maker: Any, arguments: Any) -> None:
        if isinstance(maker, Name) and maker.path in _DICTIONARIES:
            pairs = _pairs_of(arguments)
            self.pairs += len(pairs)
            if self.pairs > _MAX_PAIRS:
                raise ValueError("too many pairs")
            self.stack.append(dictionary([item for key, value in pairs for item in (key, value)]))
        else:
            self.stack.append(made(maker, arguments))

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def store(self, key: Any) -> None:
        found = _persistent(key)
        self.stack.append(found)
        if isinstance(found, Stored):
            self.stored.append(found)

    def append(self, _: Any) -> None:
        _extend(self.stack[-2], self.take(1))

    def append_all(self, _: Any) -> None:
        items = self.since_mark()
        _extend(self.stack[-1], items)

    def set_item(self, _: Any) -> None:
        pair = self.take(2)
        _fill(self.stack[-1], pair)

    def set_items(self, _: Any) -> None:
        items = self.since_mark()
        _fill(self.stack[-1], items)


def _named(module: Any, name: Any) -> Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError("a global without a name")
    return Name(f"{'builtins' if module == '__builtin__' else module}.{name}")


def made(maker: Any, arguments: Any) -> Any:
    """Remember a call; only a set is taken for what it is, a list."""
    if isinstance(maker, Name):
        if _FORBIDDEN.match(maker.path):
            raise Forbidden(maker.path)
        if maker.path in _SETS and isinstance(arguments, tuple) and len(arguments) < 2:
            return arguments[0] if arguments else []
    return Made(maker, arguments)


def _pairs_of(arguments: Any) -> list[Any] | tuple[Any, ...]:
    """Return the pairs that an old OrderedDict is called with."""
    pairs = arguments[0] if arguments else ()
    if not isinstance(pairs, list | tuple):
        raise TypeError("a dictionary without pairs")
    return pairs


def _persistent(key: Any) -> Any:
    """Old whole-module files keep the source of a class beside its name: take the name."""
    if isinstance(key, tuple) and len(key) > 1 and key[0] == "module":
        return key[1]
    return Stored(key)


def _extend(target: Any, items: Iterable[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Made):  # items of a foreign list are of no interest
        raise TypeError("appending to what is no list")


def _fill(target: Any, items: list[Any]) -> None:
    if isinstance(target, Made):
        target.entries = target.entries or {}
        target = target.entries
    if not isinstance(target, dict):
        raise TypeError("setting by key in what is no dictionary")
    target.update(dictionary(items))


def dictionary(items: list[Any]) -> dict[Any, Any]:
    """Pair up keys and values; a key that is no text or number leads to no tensor, so it is left out."""
    pairs = zip(items[::2], items[1::2], strict=True)
    return {key: value for key, value in pairs if isinstance(key, _KEYS)}


_FRESH: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
}
_COLLECTING: dict[str, Callable[[list[Any]], Any]] = {
    "LIST": list,
    "TUPLE": tuple,
    "FROZENSET": list,
    "DICT": dictionary,
}
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE1": lambda machine, _: machine.pack(1),
    "TUPLE2": lambda machine, _: machine.pack(2),
    "TUPLE3": lambda machine, _: machine.pack(3),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stacked_name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": _Machine.call_with_keywords,
    "OBJ": _Machine.old_call,
    "INST": _Machine.named_call,
    "BUILD": _Machine.build,
    "BINPERSID": lambda machine, _: machine.store(machine.stack.pop()),
    "PERSID": _Machine.store,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_all,
    "ADDITEMS": _Machine.append_all,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
}

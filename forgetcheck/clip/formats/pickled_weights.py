"""Find the tensors in what torch or pickle saved: a state dict, a training checkpoint, a whole module."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from forgetcheck.clip.formats.archive import open_archive, read_archive
from forgetcheck.clip.formats.base import CONVERT, Raw, in_one_line, shown, too_large
from forgetcheck.clip.formats.lora import MERGE
from forgetcheck.clip.formats.naming import is_adapter
from forgetcheck.clip.formats.openai import OPENAI_ARCHIVE, SETTINGS
from forgetcheck.clip.formats.pickled import Made, Name
from forgetcheck.clip.formats.rivals import OPTION, TOP, Choice, choose
from forgetcheck.clip.formats.streams import read_stream
from forgetcheck.clip.formats.tensors import NotDense, Shelf, TooLarge, build_tensor, is_tensor
from forgetcheck.errors import CheckpointError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "module")  # the last: DeepSpeed
_MAX_MODULES = 20_000  # modules may share modules, so that few of them spell very many names
_MAX_ENTRIES = 100_000  # of all modules together
_INNER = (*_WRAPPERS, "shadow", "ema", "ema_model", "params")  # of a moving average
_COUNTERS = ("epoch", "global_step", "global_steps", "step", "iteration")
_PLAIN = "state dict"
_FIRST = 8  # entries that tell what the rest is
_UNREAD = ("optim", "scheduler", "lr_")  # how training went on: its names are those of parameters
_DEEPEST = 5  # tables within tables where an adapter is looked for
_MENTIONED = 3  # other weights that a note names
_MAX_NAME = 1000  # characters of the path to a tensor
_SCRIPTED = "__torch__."  # the classes of TorchScript


@dataclass(frozen=True)
class _Found:
    """What a file holds, before any tensor is built."""

    nodes: Mapping[str, Made]  # what torch would make tensors of, by name
    family: str
    notes: tuple[str, ...] = ()
    classes: frozenset[str] = frozenset()  # of the modules in it, by the name of their code
    head_raw: bool = False  # whether its head is one of wise-ft's that doesn't normalise embeddings


@dataclass(frozen=True)
class _Opened:
    """A training checkpoint without what is around its weights."""

    sets: Mapping[str, Any]  # by key, the usual one first; by TOP where there is no key
    way: tuple[str, ...] = ()  # the keys that led there
    nameless: str = ""  # the key of a moving average that is a list, without names
    counters: Mapping[str, int] = field(default_factory=dict)  # such as {"epoch": 3}


def read_pickled(path: Path, choice: Choice) -> Raw:
    """Read a file of torch.save or pickle.dump. Nothing in it is looked up, called or executed."""
    with in_one_line(path), ExitStack() as stack:
        root: Any
        shelf: Shelf
        file = stack.enter_context(path.open("rb"))
        if file.read(4) == b"PK\x03\x04":
            root, shelf = read_archive(path, stack.enter_context(open_archive(path)))
        else:
            file.seek(0)
            root, shelf = read_stream(file, path.stat().st_size)
        opened = _opened_at(root)
        _refuse_nameless(path, opened, choice)
        _refuse_beside(path, root, opened, choice)
        return _taken(path, opened, shelf, choice)


def _taken(path: Path, opened: _Opened, shelf: Shelf, choice: Choice) -> Raw:
    """Build the set of weights that is meant, after a look at what else might be."""
    usual = next(iter(opened.sets))
    if len(opened.sets) == 1:  # what is in it may be several models, each under a prefix: see one_model
        choice = Choice()
    wanted = choice.name if choice.name in opened.sets else usual
    found = _find_nodes(path, opened.sets[wanted])
    tensors = {wanted: _build_all(path, found.nodes, shelf)}
    for name in opened.sets if not choice.name else ():
        if name != wanted and _may_be_same(found.nodes, other := _nodes_in(opened.sets[name])):
            tensors[name] = _build_all(path, other, shelf)
    there = {name: tensors.get(name, {}) for name in opened.sets}
    wanted, equal = choose(path, there, choice)
    keys = (*opened.way, *(() if wanted == TOP else (wanted,)))
    notes = [f"Read the weights under '{shown(key)}'." for key in keys]
    others = [shown(name) for name in opened.sets if name != wanted]
    if equal:
        notes.append(equal)
    elif others:
        more = f" and {len(others) - _MENTIONED} more" if others[_MENTIONED:] else ""
        notes.append(f"Left out other weights: {', '.join(others[:_MENTIONED])}{more}.")
    return Raw(
        tensors[wanted],
        "training checkpoint" if keys and found.family == _PLAIN else found.family,
        (*notes, *found.notes),
        _quick_gelu(found.classes),
        found.head_raw,
        counters=opened.counters,
        keys=keys,
    )


def _refuse_beside(path: Path, root: Any, opened: _Opened, choice: Choice) -> None:
    """An adapter beside the weights is part of the tuned model: without it they are the base's."""
    usual = next(iter(opened.sets))
    if choice.name in (*opened.way, *opened.sets):
        return
    read = opened.way[0] if opened.way else usual
    for key, value in _mapping(root).items():
        if str(key) == read or str(key).startswith(_UNREAD):
            continue
        found = next(filter(is_adapter, _tensor_names(value)), None)
        if found is not None and read != TOP:
            raise CheckpointError(
                f"'{path}' holds weights under '{shown(read)}' and an adapter under '{shown(str(key))}' "
                f"('{shown(found)}'): {MERGE}; `{OPTION} {shown(usual)}` reads the weights without it."
            )


def _tensor_names(value: Any) -> Iterator[str]:
    """Yield the names of tensors in tables within tables."""
    pending: list[tuple[str, Any, int]] = [("", value, 0)]
    for _ in range(_MAX_ENTRIES):
        if not pending:
            return
        prefix, held, depth = pending.pop()
        if is_tensor(held):
            yield prefix.rstrip(".")
        elif depth < _DEEPEST:
            inside = islice(_mapping(held).items(), _MAX_ENTRIES)
            pending += [
                (f"{prefix}{key}.", part, depth + 1) for key, part in inside if isinstance(key, str | int)
            ]


def _refuse_nameless(path: Path, opened: _Opened, choice: Choice) -> None:
    """torch_ema keeps its average as a list in the order of the parameters, which no name leads to."""
    if not opened.nameless or choice.name in opened.sets:
        return
    name, usual = shown(opened.nameless), shown(next(iter(opened.sets)))
    raise CheckpointError(
        f"'{path}' holds weights under '{usual}' and an average of them without names under '{name}': "
        f"`{OPTION} {usual}` reads the former; for the latter, copy it into a model and save its state_dict."
    )


def _build_all(path: Path, nodes: Mapping[str, Made], shelf: Shelf) -> dict[str, Tensor]:
    tensors = {}
    for name, node in nodes.items():
        try:
            tensors[name] = build_tensor(node, shelf)
        except NotDense:
            raise CheckpointError(f"'{path}': tensor '{shown(name)}' is not dense; {CONVERT}.") from None
        except TooLarge:
            raise too_large(path, name) from None
    return tensors


def _find_nodes(path: Path, content: Any) -> _Found:
    """Return what torch would make tensors of, and the family of the file."""
    if _scripted(content):
        nodes = _scripted_tensors(content)
        return _Found(nodes, OPENAI_ARCHIVE if set(nodes) >= SETTINGS else "TorchScript archive")
    if _module_state(content):
        _refuse_bare_head(path, content)
        nodes, classes = module_tensors(content)
        notes = (f"The classes of {class_name(content)} were not run.",)
        return _Found(nodes, "whole-module pickle", notes, classes, _head_is_raw(content))
    return _Found(state_dict(path, content), _PLAIN)


def _nodes_in(content: Any) -> Mapping[str, Made]:
    """Return what torch would make tensors of, as far as it has names; what else is there doesn't matter."""
    if _module_state(content):
        return module_tensors(content)[0]
    return {
        key: value for key, value in _mapping(content).items() if isinstance(key, str) and is_tensor(value)
    }


def _may_be_same(nodes: Mapping[str, Made], others: Mapping[str, Made]) -> bool:
    """Tell by the ends of their names whether two sets may be weights of one model."""
    ends, other_ends = ({name.rpartition("module.")[2] for name in part} for part in (nodes, others))
    return 2 * len(ends & other_ends) >= max(len(ends), 1)


def _head_is_raw(root: Made) -> bool:
    """Tell whether the head of an ImageClassifier says that embeddings go into it as they are."""
    state = _module_state(root) or {}
    head = _attributes(_mapping(state.get("_modules")).get("classification_head"))
    return head.get("normalize") is False


def _quick_gelu(classes: frozenset[str]) -> bool | None:
    """Tell the activation by the classes of a module, named alike in OpenAI's code and others."""
    names = {name.rpartition(".")[2] for name in classes}
    if "QuickGELU" in names:
        return True
    return False if "GELU" in names else None


def _opened_at(content: Any) -> _Opened:
    """Find the weights inside a training checkpoint, and what is beside them."""
    way: list[str] = []
    counters: dict[str, int] = {}
    for _ in _WRAPPERS:
        fields = _mapping(content)
        counters |= _counted(fields)
        usual = [key for key in _WRAPPERS if _holds_weights(fields.get(key))]
        others = [key for key, value in fields.items() if key not in usual and _has_tensors(value)]
        if not usual and len(others) != 1:
            break
        # of what lies under a usual key, some may be settings only, which are no rival
        names = [*usual[:1], *(key for key in (*usual[1:], *others) if _has_tensors(fields[key]))]
        nameless = next((str(key) for key, value in fields.items() if _is_nameless(value)), "")
        if len(names) > 1 or nameless:
            return _Opened({str(key): _inmost(fields[key]) for key in names}, tuple(way), nameless, counters)
        way.append(str(names[0]))
        content = fields[names[0]]
    if way:
        return _Opened({way[-1]: content}, tuple(way[:-1]), "", counters)
    return _Opened({TOP: content}, counters=counters)


def _counted(fields: Mapping[Any, Any]) -> dict[str, int]:
    """Return how far training was, by what a file says of itself."""
    return {key: fields[key] for key in _COUNTERS if type(fields.get(key)) is int and fields[key] >= 0}


def _inmost(content: Any) -> Any:
    """Follow the usual keys to where the tensors are."""
    for _ in _WRAPPERS:
        inside = next(
            (_mapping(content)[key] for key in _INNER if _holds_weights(_mapping(content).get(key))), None
        )
        if inside is None:
            break
        content = inside
    return content


def _is_nameless(value: Any) -> bool:
    listed = _mapping(value).get("shadow_params")
    return isinstance(listed, list) and any(map(is_tensor, listed))


def _has_tensors(value: Any) -> bool:
    """Tell by the first of its entries whether this is weights, perhaps inside of a wrapper of their own."""
    inside = [value, *(_mapping(value).get(key) for key in _INNER)]
    return any(
        _module_state(item) is not None or any(map(is_tensor, islice(_mapping(item).values(), _FIRST)))
        for item in inside
    )


def _holds_weights(value: Any) -> bool:
    return bool(_mapping(value)) or _module_state(value) is not None


def _mapping(value: Any) -> dict[Any, Any]:
    """Return a dictionary, also of a class that is one; empty for anything else."""
    found = value.entries if isinstance(value, Made) else value
    return found if isinstance(found, dict) else {}


def state_dict(path: Path, content: Any) -> dict[str, Made]:
    found = _mapping(content)
    if not found:
        raise CheckpointError(f"'{path}' is no state dict (found {_kind_of(content)}): {CONVERT}.")
    adapter = next(filter(is_adapter, _tensor_names(found)), None)
    if adapter is not None and not any(map(is_tensor, found.values())):
        raise CheckpointError(
            f"'{path}' holds an adapter ('{shown(adapter)}'), which is not PEFT's: {MERGE}."
        )
    odd = [name for name, value in found.items() if not isinstance(name, str) or not is_tensor(value)]
    if odd:
        raise CheckpointError(
            f"'{path}' is no plain state dict ('{shown(str(odd[0]))}' is not a tensor): {CONVERT}."
        )
    return found


def _kind_of(content: Any) -> str:
    if is_tensor(content):
        return "one tensor"
    return shown(class_name(content)) if isinstance(content, Made) else type(content).__name__


def class_name(node: Made) -> str:
    return shown(node.maker.path) if isinstance(node.maker, Name) else "an unnamed class"


def _attributes(node: Any) -> dict[Any, Any]:
    """Return what would become the attributes of an object; `__slots__` come second and are left out."""
    if not isinstance(node, Made) or is_tensor(node):
        return {}
    state = node.state[0] if isinstance(node.state, tuple) and node.state else node.state
    return _mapping(state)


def _module_state(node: Any) -> dict[Any, Any] | None:
    """Return the attributes of a torch module, and None for anything else."""
    state = _attributes(node)
    return state if "_modules" in state and "_parameters" in state else None


def module_tensors(root: Made) -> tuple[dict[str, Made], frozenset[str]]:
    """Walk the modules as `state_dict()` does: parameters, persistent buffers, then the modules inside.

    Returns the tensors by name, and the classes of the modules.
    """
    found: dict[str, Made] = {}
    classes: set[str] = set()
    pending: list[tuple[str, Any]] = [("", root)]
    entries = 0
    for _ in range(_MAX_MODULES):
        if not pending:
            return found, frozenset(classes)
        prefix, module = pending.pop()
        state = _module_state(module)
        if state is None:
            continue
        classes.add(class_name(module))
        parameters, inside = _mapping(state["_parameters"]), _mapping(state["_modules"])
        buffers, passing = _mapping(state.get("_buffers")), items(state.get("_non_persistent_buffers_set"))
        entries += len(parameters) + len(inside) + len(buffers) + len(passing)
        if entries > _MAX_ENTRIES:
            break
        dropped = {name for name in passing if isinstance(name, str)}
        kept = {**parameters, **{name: value for name, value in buffers.items() if name not in dropped}}
        found.update({_joined(prefix, name): value for name, value in kept.items() if is_tensor(value)})
        pending += [(_joined(prefix, name) + ".", value) for name, value in inside.items()]
    raise ValueError("too many modules")


def items(value: Any) -> list[Any]:
    """Return a set, which was read as a list; empty for anything else."""
    return value if isinstance(value, list) else []


def _joined(prefix: str, name: Any) -> str:
    if not isinstance(name, str) or len(prefix) + len(name) > _MAX_NAME:
        raise ValueError("odd name")
    return prefix + name


def _refuse_bare_head(path: Path, root: Made) -> None:
    if class_name(root).endswith("ClassificationHead"):
        raise CheckpointError(
            f"'{path}' holds a classification head and no CLIP: name the checkpoint of the image encoder."
        )


def _scripted(node: Any) -> bool:
    return isinstance(node, Made) and isinstance(node.maker, Name) and node.maker.path.startswith(_SCRIPTED)


def _scripted_tensors(root: Made) -> dict[str, Made]:
    """Walk the objects of a TorchScript archive, whose modules and tensors are plain attributes."""
    found: dict[str, Made] = {}
    pending: list[tuple[str, Made]] = [("", root)]
    entries = 0
    for _ in range(_MAX_MODULES):
        if not pending:
            return found
        prefix, module = pending.pop()
        entries += len(_attributes(module))
        if entries > _MAX_ENTRIES:
            break
        for name, value in _attributes(module).items():
            if is_tensor(value):
                found[_joined(prefix, name)] = value
            elif _scripted(value):
                pending.append((_joined(prefix, name) + ".", value))
    raise ValueError("too many modules")

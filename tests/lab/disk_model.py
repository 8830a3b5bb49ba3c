"""A disk in memory, and what a recorded run did to it: which operations, and which of them were made durable when.

Inodes and folder entries are separate, as in a real file system: fsync of a file keeps its content, fsync of a folder
keeps the names in it. `build` makes the tree that is left when only some operations have reached the disk. Reads
strace's output (-y -xx); touches no file of its own accord.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

TRACED = (
    "openat,close,write,pwrite64,sendfile,ftruncate,lseek,fsync,rename,link,unlink,unlinkat,mkdir,rmdir,"
    "copy_file_range,fdatasync,renameat,renameat2,linkat,mkdirat,syncfs"
)
_LINE = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)")
_UNMODELLED = {"copy_file_range", "fdatasync", "renameat", "renameat2", "linkat", "mkdirat"}


@dataclass(frozen=True)
class Op:
    """One change. `owner` is the inode whose fsync makes it durable. `kind`: data, size, enter, leave or move."""

    kind: str
    owner: int
    name: str = ""
    inode: int = 0
    offset: int = 0
    data: bytes = b""
    to: str = ""


@dataclass
class Node:
    """An inode: a folder with entries, or a file with content."""

    entries: dict[str, int] | None = None
    content: bytes = b""


@dataclass
class Recording:
    """The disk before, the operations in order, and after how many of them which inode was made durable."""

    before: dict[int, Node]
    ops: list[Op] = field(default_factory=list)
    syncs: list[tuple[int, int]] = field(default_factory=list)

    def unsynced(self, count: int) -> list[int]:
        """Which of the first `count` operations may be lost."""
        durable = {inode: at for at, inode in self.syncs if at <= count}
        return [i for i in range(count) if i >= durable.get(self.ops[i].owner, 0)]


Tree = dict[str, bytes | None]
"""Paths below the root; None is a folder."""


def build(recording: Recording, ops: Iterable[Op]) -> Tree:
    """The tree that is there when exactly `ops` have happened to the disk."""
    nodes = {number: Node(_copied(node.entries), node.content) for number, node in recording.before.items()}
    for op in ops:
        _apply(nodes, op)
    return dict(_walk(nodes, 0, PurePath()))


def _apply(nodes: dict[int, Node], op: Op) -> None:
    node = nodes.setdefault(op.owner, Node())
    if op.kind == "data":
        content = node.content.ljust(op.offset, b"\0")
        node.content = content[: op.offset] + op.data + content[op.offset + len(op.data) :]
        return
    if op.kind == "size":
        node.content = node.content[: op.offset].ljust(op.offset, b"\0")
        return
    if node.entries is None:
        node.entries = {}
    if op.kind in {"leave", "move"} and node.entries.get(op.name) == op.inode:
        del node.entries[op.name]
    if op.kind in {"enter", "move"}:
        node.entries[op.to or op.name] = op.inode
        made = nodes.setdefault(op.inode, Node())
        if op.kind == "enter" and op.data == b"folder" and made.entries is None:
            made.entries = {}


def _walk(nodes: dict[int, Node], number: int, path: PurePath) -> Iterator[tuple[str, bytes | None]]:
    node = nodes[number]
    if node.entries is None:
        yield str(path), node.content
        return
    if number:
        yield str(path), None
    for name, child in sorted(node.entries.items()):
        yield from _walk(nodes, child, path / name)


def write_tree(tree: Tree, root: Path) -> None:
    """Make a tree real below an empty folder."""
    for name, content in tree.items():
        path = root / name
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)


# -- from a trace ------------------------------------------------------------------------------------------------------


@dataclass
class _File:
    inode: int
    position: int = 0


class Reader:
    """Follows a trace over the tree that was below `root` when it began."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._nodes: dict[int, Node] = {0: Node({})}
        self._files: dict[int, _File] = {}
        self._load(root, 0)
        self.recording = Recording({n: Node(_copied(node.entries), node.content) for n, node in self._nodes.items()})

    def _load(self, folder: Path, number: int) -> None:
        for path in sorted(folder.iterdir()):
            made = len(self._nodes)
            self._nodes[made] = Node({} if path.is_dir() else None, b"" if path.is_dir() else path.read_bytes())
            entries = self._nodes[number].entries
            assert entries is not None
            entries[path.name] = made
            if path.is_dir():
                self._load(path, made)

    def read(self, trace: str) -> Recording:
        """Take every line of a trace."""
        for line in trace.splitlines():
            match = _LINE.match(line)
            if match and int(match[3]) >= 0:
                self._take(match[1], match[2].split(", "), int(match[3]))
        return self.recording

    def _take(self, name: str, arguments: list[str], result: int) -> None:
        if name in _UNMODELLED and self._root.encode().hex() in ", ".join(arguments).replace("\\x", ""):
            raise AssertionError(f"{name} is not modelled")
        handler = getattr(self, f"_{name}", None)
        if handler is not None:
            handler(arguments, result)

    # Each handler takes the arguments as strace writes them, and the result.

    def _openat(self, arguments: list[str], result: int) -> None:
        place = self._place(_joined(arguments[0], arguments[1]))
        self._files.pop(result, None)
        if place is None:
            return
        parent, name = place
        found = self._child(parent, name) if name else 0
        if found is None:
            found = self._new(parent, name, Node())
        elif "O_TRUNC" in arguments[2]:
            self._do(Op("size", found, offset=0))
        self._files[result] = _File(found)

    def _close(self, arguments: list[str], _result: int) -> None:
        self._files.pop(_fd(arguments[0]), None)

    def _lseek(self, arguments: list[str], result: int) -> None:
        file = self._files.get(_fd(arguments[0]))
        if file is not None:
            file.position = result

    def _write(self, arguments: list[str], result: int) -> None:
        file = self._files.get(_fd(arguments[0]))
        if file is not None:
            self._do(Op("data", file.inode, offset=file.position, data=_bytes(arguments[1])[:result]))
            file.position += result

    def _pwrite64(self, arguments: list[str], result: int) -> None:
        file = self._files.get(_fd(arguments[0]))
        if file is not None:
            self._do(Op("data", file.inode, offset=int(arguments[3]), data=_bytes(arguments[1])[:result]))

    def _sendfile(self, arguments: list[str], result: int) -> None:
        out, source = self._files[_fd(arguments[0])], self._files[_fd(arguments[1])]
        offset = source.position if arguments[2] == "NULL" else int(arguments[2][1:].partition("]")[0])
        if result:
            data = self._nodes[source.inode].content[offset : offset + result]
            assert len(data) == result
            self._do(Op("data", out.inode, offset=out.position, data=data))
            out.position += result

    def _ftruncate(self, arguments: list[str], _result: int) -> None:
        file = self._files.get(_fd(arguments[0]))
        if file is not None and len(self._nodes[file.inode].content) != int(arguments[1]):
            self._do(Op("size", file.inode, offset=int(arguments[1])))

    def _fsync(self, arguments: list[str], _result: int) -> None:
        file = self._files.get(_fd(arguments[0]))
        if file is not None:
            self.recording.syncs.append((len(self.recording.ops), file.inode))

    def _syncfs(self, _arguments: list[str], _result: int) -> None:
        """All that was written to the disk, wherever."""
        self.recording.syncs += [(len(self.recording.ops), inode) for inode in self._nodes]

    def _rename(self, arguments: list[str], _result: int) -> None:
        source, target = self._place(_bytes(arguments[0]).decode()), self._place(_bytes(arguments[1]).decode())
        assert source is not None
        assert target is not None
        inode = self._child(*source)
        assert inode is not None
        if source[0] == target[0]:
            self._do(Op("move", source[0], source[1], inode, to=target[1]))
        else:  # two folders, each with a sync of its own
            self._do(Op("enter", target[0], target[1], inode, data=b"folder" if self._is_folder(inode) else b""))
            self._do(Op("leave", source[0], source[1], inode))

    def _link(self, arguments: list[str], _result: int) -> None:
        source, target = self._place(_bytes(arguments[0]).decode()), self._place(_bytes(arguments[1]).decode())
        assert source is not None
        assert target is not None
        self._do(Op("enter", target[0], target[1], self._child(*source) or 0))

    def _unlink(self, arguments: list[str], _result: int) -> None:
        self._remove(_bytes(arguments[0]).decode())

    def _unlinkat(self, arguments: list[str], _result: int) -> None:
        self._remove(_joined(arguments[0], arguments[1]))

    def _rmdir(self, arguments: list[str], _result: int) -> None:
        self._remove(_bytes(arguments[0]).decode())

    def _mkdir(self, arguments: list[str], _result: int) -> None:
        place = self._place(_bytes(arguments[0]).decode())
        if place is not None:
            self._new(*place, Node({}))

    # -- the tree as it is now -----------------------------------------------------------------------------------------

    def _do(self, op: Op) -> None:
        self.recording.ops.append(op)
        _apply(self._nodes, op)

    def _new(self, parent: int, name: str, node: Node) -> int:
        made = len(self._nodes)
        self._nodes[made] = node
        self._do(Op("enter", parent, name, made, data=b"folder" if node.entries is not None else b""))
        return made

    def _remove(self, path: str) -> None:
        place = self._place(path)
        if place is not None:
            self._do(Op("leave", place[0], place[1], self._child(*place) or 0))

    def _place(self, path: str) -> tuple[int, str] | None:
        """(inode of the folder, name) of a path below the root; an empty name is the root itself."""
        if path == self._root:
            return 0, ""
        if not path.startswith(self._root + "/"):
            return None
        *folders, name = path[len(self._root) + 1 :].split("/")
        number: int | None = 0
        for folder in folders:
            number = self._child(number or 0, folder)
            assert number is not None, path
        return number or 0, name

    def _is_folder(self, inode: int) -> bool:
        return self._nodes[inode].entries is not None

    def _child(self, parent: int, name: str) -> int | None:
        return (self._nodes[parent].entries or {}).get(name)


def _copied(entries: dict[str, int] | None) -> dict[str, int] | None:
    return None if entries is None else dict(entries)


def _bytes(argument: str) -> bytes:
    return bytes.fromhex(argument.strip('"').replace("\\x", ""))


def _fd(argument: str) -> int:
    number = argument.partition("<")[0]
    return int(number) if number.isdigit() else -1


def _joined(folder: str, name: str) -> str:
    """An absolute path from strace's `fd<path>` and a name."""
    at = _bytes(folder.partition("<")[2].rstrip(">")).decode()
    return str(PurePath(at) / _bytes(name).decode())

"""Initial RAM disks: files of this machine packed so that the lab finds them at the same paths.

The format is the kernel's "newc" cpio (Documentation/driver-api/early-userspace/buffer-format).
Archives may follow each other; where both have a path, the later one wins.
"""

import os
import stat
import subprocess

OWN_OF_LAB = ("/dev", "/proc", "/sys")
MAX_SYMLINKS = 40


class PackError(Exception):
    """A file cannot be packed; the text says which and why."""


class Archive:
    """Writes one cpio archive to the binary file `out`. Each path is written once, root owned."""

    def __init__(self, out):
        self.out = out
        self.paths = set()

    def _entry(self, path, mode, data=b"", source=None, size=0):
        """One record: `data`, or `size` bytes copied from the open file `source`."""
        name = path.lstrip("/").encode() + b"\0"
        fields = (len(self.paths) + 1, mode, 0, 0, 1, 0, size or len(data), 0, 0, 0, 0,
                  len(name), 0)
        self._padded(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
        if source:
            self._copy(source, size)
        else:
            self._padded(data)
        self.paths.add(path)

    def _padded(self, data):
        self.out.write(data + b"\0" * (-len(data) % 4))

    def _copy(self, source, size):
        left = size
        while left:
            chunk = source.read(min(left, 1 << 20))
            if not chunk:
                raise PackError(f"{source.name}: shrank while it was read")
            self.out.write(chunk)
            left -= len(chunk)
        self.out.write(b"\0" * (-size % 4))

    def directory(self, path, mode=0o755):
        if path not in self.paths:
            self._entry(path, stat.S_IFDIR | mode)

    def symlink(self, path, target):
        if path not in self.paths:
            self._entry(path, stat.S_IFLNK | 0o777, os.fsencode(target))

    def text(self, path, data, mode=0o644):
        self._entry(path, stat.S_IFREG | mode, data if isinstance(data, bytes) else data.encode())

    def file(self, path, origin=None):
        """The regular file `origin` (or the file of the same path) becomes `path`."""
        if path in self.paths:
            return
        try:
            with open(origin or path, "rb") as source:
                about = os.fstat(source.fileno())
                self._entry(path, stat.S_IFREG | stat.S_IMODE(about.st_mode), source=source,
                            size=about.st_size)
        except OSError as error:
            raise PackError(f"{origin or path}: {error.strerror}") from error

    def close(self):
        self._entry("/TRAILER!!!", 0)
        self.out.write(b"\0" * (-self.out.tell() % 512))


def _step(archive, here, name):
    """Packs `here`/`name`; returns its path and, for a symbolic link, the target."""
    path = f"{here}/{name}"
    if path in OWN_OF_LAB:
        raise PackError(f"{path}: the lab has its own")
    try:
        about = os.lstat(path)
    except OSError as error:
        raise PackError(f"{path}: {error.strerror}") from error
    if stat.S_ISLNK(about.st_mode):
        target = os.readlink(path)
        archive.symlink(path, target)
        return path, target
    if stat.S_ISDIR(about.st_mode):
        archive.directory(path, stat.S_IMODE(about.st_mode))
    elif stat.S_ISREG(about.st_mode):
        archive.file(path)
    else:
        raise PackError(f"{path}: neither file nor directory")
    return path, None


def pack_path(archive, path):
    """Packs the absolute `path` and every directory and link on the way; returns its real path."""
    names = path.split("/")
    here, links = "", 0
    while names:
        name = names.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here).rstrip("/")
            continue
        full, target = _step(archive, here, name)
        if target is None:
            here = full
            continue
        links += 1
        if links > MAX_SYMLINKS:
            raise PackError(f"{path}: too many symbolic links")
        names = target.split("/") + names
        if target.startswith("/"):
            here = ""
    return here or "/"


def elf_interpreter(path):
    """The dynamic loader an ELF64 executable asks for, or None for anything else."""
    with open(path, "rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:5] != b"\x7fELF\x02":
            return None
        file.seek(int.from_bytes(header[32:40], "little"))
        size = int.from_bytes(header[54:56], "little")
        for _ in range(int.from_bytes(header[56:58], "little")):
            segment = file.read(size)
            if len(segment) == 56 and segment[:4] == b"\x03\0\0\0":
                file.seek(int.from_bytes(segment[8:16], "little"))
                raw = file.read(min(int.from_bytes(segment[32:40], "little"), 4096))
                return os.fsdecode(raw.rstrip(b"\0"))
    return None


def script_interpreter(path):
    """The program that a #! line names, or None."""
    with open(path, "rb") as file:
        line = file.readline(256)
    words = line[2:].split() if line.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else None


def libraries(path, loader):
    """Absolute paths of the shared libraries of the executable, as its own loader finds them."""
    listing = subprocess.run([loader, "--list", path], capture_output=True, text=True, check=False)
    if listing.returncode:
        raise PackError(f"{path}: its libraries cannot be listed: {listing.stderr.strip()}")
    found = []
    for line in listing.stdout.splitlines():
        words = line.split()
        if line.endswith("not found"):
            raise PackError(f"{path}: library {words[0]} not found")
        found += [word for word in words if word.startswith("/")]
    return found


def pack_runnable(archive, path):
    """Packs a file and, if it is a program, all it needs to start."""
    real = pack_path(archive, path)
    loader = elf_interpreter(real)
    if loader:
        for needed in [loader] + libraries(real, loader):
            pack_path(archive, needed)
        return
    interpreter = script_interpreter(real)
    if interpreter and os.path.isfile(interpreter):
        pack_runnable(archive, interpreter)


def pack_tree(archive, path):
    """Packs a file, or a directory with everything below it."""
    if not os.path.isdir(path):
        pack_runnable(archive, path)
        return
    real = pack_path(archive, path)
    for name in sorted(os.listdir(real)):
        child = f"{real.rstrip('/')}/{name}"
        if os.path.islink(child):
            pack_path(archive, child)
        elif os.path.isdir(child):
            pack_tree(archive, child)
        elif os.path.isfile(child):
            pack_runnable(archive, child)

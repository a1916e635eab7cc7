"""The lab's lasting parts: a kernel of Debian with its KVM modules, and a base RAM disk.

They are made once and kept in the cache directory. Everything is built beside its final place
and renamed into it, so two labs that start at once cannot see half of anything.
"""

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from initrd import Archive

HERE = os.path.dirname(os.path.abspath(__file__))
METAPACKAGE = "linux-image-cloud-amd64"
MODULES = ("kvm-amd", "virtio_pci", "virtio_console")
GUEST_MODULES = ("virtio_pci", "virtio_blk", "virtio-rng", "virtio_console", "virtio_balloon") # for the kernel as a guest
LAYOUT = "-3" # of a kernel's directory: one more when something is added
QEMU = "qemu-system-x86_64"
WEEK_S = 7 * 86400


class PartsError(Exception):
    """A part cannot be had; the text says which and what to do."""


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "penumbra-lab")


def _run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def _kernel_package():
    """Name of the package that the metapackage depends on, or None while apt knows no packages."""
    listing = _run("apt-cache", "depends", "--important", METAPACKAGE).stdout
    found = re.search(r"Depends: (linux-image-\S+)", listing)
    return found and found.group(1)


def _update_lists():
    command = ["apt-get", "-q", "update"]
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            raise PartsError("apt knows no kernel package; as root run: apt-get update")
        command.insert(0, "sudo")
    if _run(*command).returncode:
        raise PartsError("apt-get update failed; is the network up?")


def _download(directory):
    """Downloads the kernel package into `directory`; returns the path of the .deb."""
    for attempt in range(2):
        if attempt:
            _update_lists()
        package = _kernel_package()
        if not package:
            continue
        print(f"lab: fetching {package} (once)", file=sys.stderr)
        done = _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package,
                    cwd=directory)
        files = [name for name in os.listdir(directory) if name.endswith(".deb")]
        if done.returncode == 0 and files:
            return os.path.join(directory, files[0])
    raise PartsError(f"{METAPACKAGE}: cannot be downloaded; is the network up?")


def _module_files(tree):
    """Module name -> file, for all modules of an unpacked kernel package."""
    files = {}
    for directory, _, names in os.walk(os.path.join(tree, "lib/modules")):
        for name in names:
            found = re.fullmatch(r"(.*)\.ko(\.xz)?", name)
            if found:
                files[found.group(1).replace("-", "_")] = os.path.join(directory, name)
    return files


def _read_module(path):
    if path.endswith(".xz"):
        with lzma.open(path) as file:
            return file.read()
    with open(path, "rb") as file:
        return file.read()


def _collect_modules(tree, modules, target):
    """Puts modules and what they depend on into `target`, with the loading order in "order"."""
    files, order = _module_files(tree), []

    def visit(name):
        if name in order:
            return
        path = files.get(name.replace("-", "_"))
        if not path:
            raise PartsError(f"the kernel package has no module {name}")
        data = _read_module(path)
        needs = re.search(rb"\0depends=([^\0]*)\0", data)
        for need in (needs.group(1).decode().split(",") if needs else []):
            if need:
                visit(need)
        order.append(name)
        with open(os.path.join(target, name + ".ko"), "wb") as file:
            file.write(data)

    os.mkdir(target)
    for module in modules:
        visit(module)
    with open(os.path.join(target, "order"), "w", encoding="ascii") as file:
        file.write("\n".join(order) + "\n")


def _rename_new(made, final):
    """Moves a finished directory into place; if another lab was quicker, its one is used."""
    try:
        os.rename(made, final)
    except OSError:
        if not os.path.isdir(final):
            raise


def fetch_kernel(cache):
    """Downloads and unpacks the newest kernel and makes it the current one."""
    os.makedirs(cache, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="new.", dir=cache) as work:
        package = _download(work)
        tree, made = os.path.join(work, "tree"), os.path.join(work, "made")
        if _run("dpkg", "-x", package, tree).returncode:
            raise PartsError(f"{os.path.basename(package)}: dpkg cannot unpack it")
        os.mkdir(made)
        boot = os.path.join(tree, "boot")
        image = next(name for name in os.listdir(boot) if name.startswith("vmlinuz-"))
        shutil.copy(os.path.join(boot, image), os.path.join(made, "vmlinuz"))
        _collect_modules(tree, MODULES, os.path.join(made, "modules"))
        _collect_modules(tree, GUEST_MODULES, os.path.join(made, "guest-modules"))
        name = os.path.basename(package)[:-len(".deb")] + LAYOUT
        _rename_new(made, os.path.join(cache, name))
        link = os.path.join(work, "current")
        os.symlink(name, link)
        os.rename(link, os.path.join(cache, "current"))


def kernel_directory(cache):
    """Directory with vmlinuz, modules/ and guest-modules/, fetched if this is the first time."""
    current = os.path.join(cache, "current")
    if not os.path.realpath(current).endswith(LAYOUT):
        fetch_kernel(cache)
    return os.path.realpath(current)


def busybox():
    path = shutil.which("busybox")
    if not path:
        raise PartsError("busybox is missing; run scripts/setup")
    return path


def _write_base(out, kernel):
    archive = Archive(out)
    for name in ("dev", "proc", "sys", "etc", "root", "run", "usr", "usr/bin", "usr/sbin",
                 "usr/lib", "usr/lib64", "lab", "lab/bin", "lab/modules", "var"):
        archive.directory("/" + name)
    archive.directory("/tmp", 0o1777)
    archive.directory("/var/tmp", 0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        archive.symlink("/" + name, "usr/" + name)
    archive.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    archive.text("/etc/group", "root:x:0:\n")
    archive.text("/etc/hosts", "127.0.0.1 localhost lab\n::1 localhost\n")
    archive.file("/lab/busybox", busybox())
    for applet in _run(busybox(), "--list").stdout.split():
        archive.symlink("/lab/bin/" + applet, "/lab/busybox")
    archive.symlink("/usr/bin/sh", "/lab/busybox")
    archive.symlink("/usr/bin/env", "/lab/busybox")
    modules = os.path.join(kernel, "modules")
    for name in os.listdir(modules):
        archive.file("/lab/modules/" + name, os.path.join(modules, name))
    with open(os.path.join(HERE, "init"), "rb") as file:
        archive.text("/init", file.read(), 0o755)
    with open(os.path.join(HERE, "npt"), "rb") as file:
        archive.text("/lab/bin/npt", file.read(), 0o755)
    archive.close()


def _base_name(kernel):
    """A name that changes with all that goes into the base RAM disk."""
    about = os.stat(busybox())
    key = hashlib.sha256(f"{kernel} {about.st_size} {about.st_mtime_ns}".encode())
    for name in ("init", "npt", "initrd.py", "parts.py"):
        with open(os.path.join(HERE, name), "rb") as file:
            key.update(file.read())
    return f"base-{key.hexdigest()[:16]}.cpio"


def _make_base(cache, path, kernel):
    handle, made = tempfile.mkstemp(prefix="new.", dir=cache)
    try:
        with os.fdopen(handle, "wb") as out:
            _write_base(out, kernel)
        os.rename(made, path)
    except BaseException:
        os.unlink(made)
        raise
    _drop_old_bases(cache)


def open_base_initrd(cache, kernel):
    """The base RAM disk for this kernel, this busybox and these scripts, open for reading."""
    path = os.path.join(cache, _base_name(kernel))
    try:
        base = open(path, "rb")
    except FileNotFoundError:
        _make_base(cache, path, kernel)
        base = open(path, "rb")
    os.utime(path)
    return base


def _drop_old_bases(cache):
    """Removes the ones unused for a week: another checkout may use a younger one."""
    for name in os.listdir(cache):
        path = os.path.join(cache, name)
        try:
            if name.startswith("base-") and time.time() - os.stat(path).st_mtime > WEEK_S:
                os.unlink(path)
        except FileNotFoundError:
            pass

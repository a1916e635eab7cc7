"""How the lab's processes end: by a signal, or with the process that started them."""

import ctypes
import signal

PR_SET_PDEATHSIG = 1


class Stopped(Exception):
    """A signal asked this process to end; args[0] is its number."""


def _stop(number, _frame):
    raise Stopped(number)


def die_with_parent(number):
    """Has the kernel send this signal to the calling process when its parent is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def stop_cleanly():
    """Turns every request to end, and the death of the parent, into Stopped."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    die_with_parent(signal.SIGTERM)

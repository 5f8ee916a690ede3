"""What a decoding child takes from itself before it looks at a file. Whatever then takes it over has little.

No files to write, no network, no other programs, no more memory than a file may cost. It can still read
files that the server can read: fonts, among others, are needed.
"""

from __future__ import annotations

import ctypes
import errno
import math
import platform
import resource
import struct
import sys
import time

from turbov2.media.limits import MediaLimits

_MAX_DESCRIPTORS = 64

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22  # linux/prctl.h
_SECCOMP_MODE_FILTER = 2
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000  # linux/seccomp.h
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h, 32-bit absolute
_X32_BIT = 0x40000000
# Per machine: its audit number, and the numbers of socket, connect, bind, listen, sendmsg, execve, execveat,
# ptrace, process_vm_readv, process_vm_writev, kill, tkill, tgkill, io_uring_setup, bpf (asm/unistd.h).
_MACHINES = {
    "x86_64": (0xC000003E, (41, 42, 49, 50, 46, 59, 322, 101, 310, 311, 62, 200, 425, 321)),
    "aarch64": (0xC00000B7, (198, 203, 200, 201, 211, 221, 281, 117, 270, 271, 129, 130, 425, 280)),
}


def confine(limits: MediaLimits) -> None:
    """Afterwards this process writes no files; on Linux its memory is bounded, and it has no sockets."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_DESCRIPTORS, _MAX_DESCRIPTORS))
    if sys.platform == "linux":  # elsewhere an address space has no bound that can be set
        space = limits.address_space_bytes
        resource.setrlimit(resource.RLIMIT_AS, (space, space))
        _forbid_calls()


def allow_cpu(seconds: float) -> None:
    """Afterwards the kernel ends this process when it computes for so long, should its parent not do it."""
    until_s = math.ceil(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until_s, resource.RLIM_INFINITY))


def _forbid_calls() -> None:
    """Puts the filter in force where the machine is known and the kernel has filters; else does nothing."""
    if platform.machine() not in _MACHINES:
        return
    program = _filter(*_MACHINES[platform.machine()])
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(header), 0, 0)


def _filter(machine: int, forbidden: tuple[int, ...]) -> bytes:
    """Returns a classic BPF program over struct seccomp_data: call number at 0, machine at 4."""
    steps = [(_LOAD, 0, 0, 4), (_IF_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    n = len(forbidden)
    steps += [(_IF_AT_LEAST, n + 1, 0, _X32_BIT)]  # the same calls under other numbers
    steps += [(_IF_EQUAL, n - i, 0, number) for i, number in enumerate(forbidden)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _DENY)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)

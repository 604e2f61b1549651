"""Ends a process at its N-th system call, counted over all its threads from now on: ptrace(2), nothing else needed.

    python3 killer.py PID N        attaches, prints "ready", kills at the N-th call, prints "killed NUMBER_OF_THE_CALL"
    python3 killer.py -- COMMAND…  with N in KILL_AT: starts the command and does the same; its own standard input and output

A process of its own, because the kernel reports every stop to the thread that traces. When it ends, what it traced goes on.
"""

import ctypes
import os
import signal
import sys

SEIZE, INTERRUPT, SYSCALL, SET_OPTIONS, SYSCALL_INFO, TRACE_ME = 0x4206, 0x4207, 24, 0x4200, 0x420E, 0
SYSGOOD, FOLLOW = 1, 2 | 4 | 8  # stops of system calls are marked; forks, vforks and clones are traced too
WAIT_ALL = 0x40000000
ENTRY = 1
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


def ptrace(request, thread, address=0, data=0):
    result = LIBC.ptrace(request, thread, address, data)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def entered(thread):
    """The number of the system call that the thread is about to make; None when it comes back from one."""
    info = (ctypes.c_uint8 * 88)()
    ptrace(SYSCALL_INFO, thread, ctypes.sizeof(info), ctypes.addressof(info))
    return ctypes.c_uint64.from_buffer(info, 24).value if info[0] == ENTRY else None


def seize(pid):
    for thread in os.listdir(f"/proc/{pid}/task"):
        ptrace(SEIZE, int(thread), 0, SYSGOOD | FOLLOW)
        ptrace(INTERRUPT, int(thread))


def launch(command):
    """A child that stops at its first instruction."""
    pid = os.fork()
    if pid == 0:
        ptrace(TRACE_ME, 0)
        os.execvp(command[0], command)
    os.waitpid(pid, WAIT_ALL)
    ptrace(SET_OPTIONS, pid, 0, SYSGOOD | FOLLOW)
    ptrace(SYSCALL, pid)
    return pid


def follow(pid, at):
    """Until the process ends: (its status, the call that it was ended at or None, calls that were counted)."""
    count, killed = 0, None
    while True:
        try:
            thread, status = os.waitpid(-1, WAIT_ALL)
        except ChildProcessError:
            return 0, killed, count
        if not os.WIFSTOPPED(status):
            if thread == pid:
                return status, killed, count
            continue
        stop = os.WSTOPSIG(status)
        call = None
        try:
            if stop == signal.SIGTRAP | 0x80:
                call = entered(thread)
            if call is not None:
                count += 1
                if count == at:
                    killed = call
                    os.kill(pid, signal.SIGKILL)
                    continue
            # A stop of ptrace's own is not the process's business; its signals are.
            ours = stop == signal.SIGTRAP | 0x80 or stop == signal.SIGTRAP or status >> 16
            ptrace(SYSCALL, thread, 0, 0 if ours else stop)
        except ProcessLookupError:
            continue


def main():
    if sys.argv[1] == "--":
        pid, at = launch(sys.argv[2:]), int(os.environ.pop("KILL_AT"))
    else:
        pid, at = int(sys.argv[1]), int(sys.argv[2])
        seize(pid)
        print("ready", flush=True)
    status, killed, count = follow(pid, at)
    if sys.argv[1] != "--":
        print(f"killed {killed}" if killed is not None else f"ended {count}", flush=True)
        return 0
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main())

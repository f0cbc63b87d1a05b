"""The keeper: a small process between an engine and its shells. Run as a script; needs the standard library alone.

It forks the shells, and it is the *child subreaper* of all that they start: whatever is orphaned below it becomes its child. So

- no zombie is left where nobody else reaps (PID 1 of many containers does not),
- nothing escapes: when the engine closes its end of the socket, or dies of anything at all, the keeper kills its children,
  then those that were orphaned by this, and so on until it has none, removes the run directory, and ends.

The socket (argv[1], SOCK_SEQPACKET) carries one JSON object a message. To here: ``{"spawn": n, "file": path}`` with the
descriptor of the shell's stdin or terminal; the file holds argv, env, cwd, whether it is a terminal, and what is executed
if there is no such program on the path in env. From here: ``{"spawned": n, "pid": p}``, ``{"failed": n, "error": text}``,
``{"exited": p, "status": wait status}``.
"""

import array
import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import sys
import termios
import time
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_SECONDS = 10.0


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    run_directory = sys.argv[2]
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # what the program blocks, neither we nor the shells may
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            reap(channel)
        if channel.fileno() in ready and not serve(channel, libc):
            break
    end_everything()
    import shutil  # costs as much as all the rest to import

    shutil.rmtree(run_directory, ignore_errors=True)


def serve(channel: socket.socket, libc: ctypes.CDLL) -> bool:
    """One message; False once the engine is gone."""
    descriptors = array.array("i")
    try:
        message, ancillary, _, _ = channel.recvmsg(
            4096, socket.CMSG_SPACE(descriptors.itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionError:
        return False
    if not message:
        return False
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    request = json.loads(message)
    try:
        with open(request["file"]) as file:
            shell = json.load(file)
        os.unlink(request["file"])
        pid = spawn(shell, descriptors[0], libc)
    except OSError as error:
        send(channel, {"failed": request["spawn"], "error": str(error)})
    else:
        send(channel, {"spawned": request["spawn"], "pid": pid})
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return True


def spawn(shell: dict[str, Any], stdin: int, libc: ctypes.CDLL) -> int:
    """Fork a shell into a session of its own. Raises `OSError` if it can't be executed."""
    keeper = os.getpid()
    error_read, error_write = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError:  # no more processes
        os.close(error_read)
        os.close(error_write)
        raise
    if pid == 0:
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != keeper:
                os._exit(126)
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in signal.valid_signals():
                with contextlib.suppress(OSError):
                    signal.signal(number, signal.SIG_DFL)
            output = stdin if shell["terminal"] else os.open("/dev/null", os.O_RDWR)
            os.dup2(stdin, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if shell["terminal"]:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            os.chdir(shell["cwd"])
            try:
                os.execvpe(shell["argv"][0], shell["argv"], shell["env"])
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                if shell["fallback"] is None:
                    raise
                os.execve(shell["fallback"], shell["argv"], shell["env"])
        except OSError as error:
            os.write(error_write, json.dumps([error.errno, error.strerror]).encode())
        finally:
            os._exit(126)
    os.close(error_write)
    try:
        failure = os.read(error_read, 4096)
    finally:
        os.close(error_read)
    if failure:
        os.waitpid(pid, 0)
        raise OSError(*json.loads(failure))
    return pid


def reap(channel: socket.socket) -> None:
    """Collect all children that have ended, adopted ones too, and tell of them."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            send(channel, {"exited": pid, "status": status})


def send(channel: socket.socket, message: dict[str, object]) -> None:
    with contextlib.suppress(ConnectionError):
        channel.send(json.dumps(message).encode())


def end_everything() -> None:
    """Kill until there is nobody left to kill: who loses its parent becomes a child of this process.

    Who has become another user (by `sudo`, say) can't be killed, and is left; likewise who sits in the kernel, and nobody has
    ended for `KILL_SECONDS`.
    """
    children = f"/proc/self/task/{os.getpid()}/children"
    killed = True
    given_up_at = time.monotonic() + KILL_SECONDS
    with contextlib.suppress(ChildProcessError):
        while killed and time.monotonic() < given_up_at:
            killed = False
            with open(children) as file:
                for pid in file.read().split():
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(int(pid), signal.SIGKILL)
                        killed = True
            while os.waitpid(-1, os.WNOHANG)[0]:
                given_up_at = time.monotonic() + KILL_SECONDS
            time.sleep(0.001)


if __name__ == "__main__":
    main()

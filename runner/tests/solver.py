"""The tests' workload: keeps a journal that the runner cannot write, and misbehaves on demand.

It is started as any workload is, with `--stride S --offset K`. `--home DIR` has `journal` (one
line per event, appended, fsynced: `event offset gidx pid monotonic`), a lock per offset, and
`off<K>.json`, what to do:

    {"wait_at": g}     before case g is done, wait until somebody writes to the FIFO off<K>.go
    {"exit": [g, rc]}  end with rc instead of doing case g
    {"die": [g, n]}    end by signal n instead
    {"eat": [g, n]}    use n MiB of memory before case g is done
    {"print": [g, s]}  print s before case g is done
    {"deaf": true}     ignore SIGTERM
    {"polite": rc}     end with rc at SIGTERM
    {"child": true}    leave a child in the group that holds no descriptor
    {"stray": true}    leave a child outside the group that holds no descriptor
    {"keeper": true}   leave one outside the group that holds every descriptor
"""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time


def read(path: str) -> str:
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("stride", "offset", "total"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("home", "state", "gate"):
        parser.add_argument(f"--{name}", required=True)
    a = parser.parse_args()
    control = os.path.join(a.home, f"off{a.offset}.json")
    todo = json.loads(read(control) or "{}")

    def note(event: str, gidx: int) -> None:
        fd = os.open(os.path.join(a.home, "journal"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        line = f"{event} {a.offset} {gidx} {os.getpid()} {time.monotonic():.6f}\n"
        os.write(fd, line.encode())
        os.fsync(fd)
        os.close(fd)

    alone = os.open(os.path.join(a.home, f"off{a.offset}.alone"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("OVERLAP", -1)
    if todo.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "polite" in todo:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(todo["polite"]))
    state = a.state.replace("{stride}", str(a.stride)).replace("{offset}", str(a.offset))
    last = int(read(state) or a.offset - a.stride)
    note("start", last)
    for key, session in (("child", False), ("stray", True), ("keeper", True)):
        if todo.get(key):
            # subprocess closes every descriptor but 0, 1 and 2, unless it is told not to.
            child = subprocess.Popen(
                ["sleep", "1000"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=session,
                close_fds=key != "keeper",
            )
            note(key, child.pid)
    for gidx in range(last + a.stride, a.total, a.stride):
        if os.path.exists(a.gate):
            note("gate", gidx)
            return 0
        print(f"[now] START gidx={gidx} local=0 off={a.offset} stride={a.stride}", flush=True)
        if todo.get("print", [None])[0] == gidx:
            print(todo["print"][1], flush=True)
            os.fsync(1)  # it must be on the disk before the case counts as done
        if todo.get("eat", [None])[0] == gidx:
            note("eat", gidx)
            print(len(b"x" * (todo["eat"][1] << 20)), "bytes", flush=True)
        if todo.get("exit", [None])[0] == gidx:
            note("exit", gidx)
            return int(todo["exit"][1])
        if todo.get("die", [None])[0] == gidx:
            note("die", gidx)
            os.kill(os.getpid(), todo["die"][1])
        if todo.get("wait_at") == gidx:
            note("waiting", gidx)
            with open(os.path.join(a.home, f"off{a.offset}.go")) as fifo:
                fifo.read()
        with open(f"{state}.new", "w") as file:
            file.write(f"{gidx}\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{state}.new", state)
        directory = os.open(os.path.dirname(state), os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        note("case", gidx)
        print(f"[now] DONE  gidx={gidx} sat=False dt=0.1s", flush=True)
    note("end", last)
    return 0


if __name__ == "__main__":
    sys.exit(main())

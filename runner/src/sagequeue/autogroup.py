"""How much a session yields to others where the kernel groups processes by session.

There a process's nice value counts within its session alone, and the session has one of its own:
sched(7), "The autogroup feature". Every solver leads a session.
"""

import os

from sagequeue.owner import process


def set_nice(group: str, nice: int) -> bool:
    """Give the session that an `Execution.group` names that nice value, from 0 to 19.

    Returns:
        Whether no more is to be done: it has the value, is gone, or the kernel has no such groups.
        The kernel lets all users together set ten values a second, and refuses more.
        A solver is recorded a moment before it begins its session. In that moment nothing is set:
        the value would go to the wrapper's session.

    """
    number, start = group.split(":")[:2]
    pid = int(number)
    leader = process(pid)
    if leader is None or leader.start != start:
        return True
    try:
        if os.getsid(pid) != pid:
            return False
        with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
            file.write(f"{nice}\n")
    except BlockingIOError:
        return False
    except OSError:  # a kernel without such groups, or the session has ended
        pass
    return True

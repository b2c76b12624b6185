"""Waiting for a lock beside other things: the wait is a thread's, and its end a descriptor's."""

import errno
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from sagequeue.owner import Lock, wait_lock


class LockWaiter(threading.Thread):
    """Waits for a lock in a thread of its own, so that the worker can wait for a signal as well.

    The end of a `with` block gives up what was not `taken` in it.
    """

    # Seconds to wait after ending a solver before ending it again: ended before it had begun, it
    # may begin yet.
    AGAIN = 0.2

    def __init__(self, path: Path) -> None:
        """Begin to wait.

        Raises:
            OSError: there is no descriptor or no thread to be had.

        """
        super().__init__(daemon=True)
        self.path = path
        self.event = os.eventfd(0, os.EFD_CLOEXEC)
        self.result: Lock | Exception | None = None
        # Under the mutex, exactly one side gets each descriptor to close: the event is the
        # caller's, and so is the lock from the moment it is the result.
        self._unwanted = False
        self._mutex = threading.Lock()
        try:
            self.start()
        except BaseException as error:
            self.give_up()
            if isinstance(error, RuntimeError):
                raise OSError(errno.EAGAIN, str(error)) from None
            raise

    def run(self) -> None:
        """Block in the kernel until the lock is free."""
        result: Lock | Exception
        try:
            result = wait_lock(self.path)
        except Exception as error:  # whatever it is: without a result the caller waits for ever
            result = error
        with self._mutex:
            if not self._unwanted:
                self.result = result
                os.eventfd_write(self.event, 1)
                return
        if isinstance(result, Lock):
            result.close()

    def give_up(self) -> None:
        """Stop waiting: a lock that was got, or that the thread gets later, is let go of at once.

        After `taken` this does nothing.
        """
        with self._mutex:
            if self._unwanted:
                return
            self._unwanted = True
            os.close(self.event)
            if isinstance(self.result, Lock):
                self.result.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.give_up()

    @property
    def over(self) -> bool:
        """Whether the lock was got, or cannot be."""
        return self.result is not None

    def taken(self) -> Lock:
        """The lock, which is the caller's from now on.

        Raises:
            RuntimeError: the wait is not over, or was given up.
            OSError: the lock cannot be had.

        """
        with self._mutex:
            if self.result is None or self._unwanted:
                raise RuntimeError(f"nothing to take: {self.path} is not locked by this waiter")
            self._unwanted = True
            os.close(self.event)
        if isinstance(self.result, Lock):
            return self.result
        raise self.result

"""A terminal with a program in it: a pseudo terminal whose screen is kept by pyte, and keys that are pressed.

    with Terminal([binary(), "top", …], rows=24, columns=80) as terminal:
        terminal.shows("hit rate")     waits until the screen has it
        terminal.press("q")
        terminal.exits(0)
"""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time

import pyte

from .client import PATIENCE_S


class Terminal:
    def __init__(self, command, rows=24, columns=80, environment=None):
        self.master, slave = pty.openpty()
        self.slave = slave  # kept open: what the program leaves of its settings is looked at behind its end
        self.size(rows, columns)
        self.settings = termios.tcgetattr(slave)
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={"HOME": "/nonexistent", "TERM": "xterm-256color", "LANG": "C.UTF-8", "PATH": os.environ["PATH"],
                 **(environment or {})})
        self.ended = False
        self.pump = threading.Thread(target=self._pump, daemon=True)
        self.pump.start()

    def _pump(self):
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 65536):
                with self.changed:
                    self.raw += data
                    self.stream.feed(data)
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def size(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        with self.changed:
            self.size(rows, columns)
            self.screen.resize(rows, columns)
        os.kill(self.process.pid, signal.SIGWINCH)

    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def text(self):
        return "\n".join(self.lines())

    def waits_for(self, is_there, what):
        deadline = time.monotonic() + PATIENCE_S
        with self.changed:
            while not is_there():
                left = deadline - time.monotonic()
                assert left > 0, f"expected {what} on the screen, which is:\n{self.text()}"
                self.changed.wait(left)
            return self.text()

    def shows(self, *texts):
        return self.waits_for(lambda: all(text in self.text() for text in texts), texts)

    def drained(self):
        """Waits until all is on the screen that a program which has ended has written."""
        os.write(self.slave, b"\x1b]0;drained\x07")
        self.waits_for(lambda: self.screen.title == "drained", "the end of what was written")

    def press(self, keys):
        os.write(self.master, keys.encode())

    def signal(self, number):
        os.kill(self.process.pid, number)

    def exits(self, status):
        """Waits for the end: its exit status, or minus the signal; and the terminal is as it was."""
        assert self.process.wait(PATIENCE_S) == status, self.text()
        assert termios.tcgetattr(self.slave) == self.settings, "the terminal's settings are not what they were"

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.slave)
        self.pump.join(PATIENCE_S)
        os.close(self.master)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

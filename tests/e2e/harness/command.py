"""Commands, run to their end without a terminal."""

import os
import subprocess

from .process import binary

ENVIRONMENT = {"HOME": "/nonexistent", "PATH": os.environ["PATH"]}


def run(*args, status=0, stdin=None, **environment):
    """refrain @args; it must end with @status."""
    done = subprocess.run([binary(), *args], input=stdin, capture_output=True, text=True, timeout=60,
                          env={**ENVIRONMENT, **environment})
    assert done.returncode == status, f"expected exit {status} from {args}: {done}"
    return done

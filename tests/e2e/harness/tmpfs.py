"""A file system of a test's own: of a size, and one that can be made so that nothing is written to it."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def mounted(folder, options):
    """@folder, which is there, lies on such a file system meanwhile. Where mounting is not allowed the test is passed over."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remounted(folder, options):
    """"ro", "rw", "size=120m": from now on."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

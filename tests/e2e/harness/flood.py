"""Many requests at an admin listener with a token that is wrong, from a process of its own, so that they compete with what
is measured for nothing but the machine. Prints how many answers of each status came.

  python3 flood.py HOST PORT COUNT [PER_CONNECTION]
"""

import collections
import re
import socket
import subprocess
import sys

TOGETHER = 50  # requests on their way at once


def flood(host, port, count, per_connection):
    statuses, sent = collections.Counter(), 0
    wire = f"GET /api/v1 HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer wrong\r\n\r\n".encode()
    while sent < count:
        with socket.create_connection((host, port), 30) as sock:
            for begun in range(0, per_connection, TOGETHER):
                n = min(TOGETHER, per_connection - begun, count - sent)
                sock.sendall(wire * n)
                sent += n
                statuses.update(answers(sock, n))
    return statuses


def answers(sock, n):
    """The statuses of the next @n answers, each of a length that its head tells."""
    data, found = b"", []
    while len(found) < n:
        head, end, rest = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1]) if end else 0
        if not end or len(rest) < length:
            more = sock.recv(1 << 16)
            assert more, f"the connection ended with {len(found)} of {n} answers"
            data += more
            continue
        found.append(int(head.split(b" ", 2)[1]))
        data = rest[length:]
    return found


def begin(address, count, per_connection=1000):
    """The running process; its output is what `flooded` reads."""
    return subprocess.Popen([sys.executable, "-P", __file__, address[0], str(address[1]), str(count), str(per_connection)],
                            stdout=subprocess.PIPE, text=True)


def flooded(process):
    """{status: how many} of a flood that has ended."""
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return {int(status): int(times) for (status, times) in (line.split() for line in out.splitlines())}


if __name__ == "__main__":
    for status, times in flood(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])).items():
        print(status, times)

"""A TCP relay that can be cut and mended: what lies between an instance and Redis, when the network fails."""

import selectors
import socket
import threading


class Relay:
    """Listens on `port` of 127.0.0.1 and passes bytes on to (host, port), until it is cut."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.is_cut = False
        self.pairs = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.wake_r, self.wake_w = socket.socketpair()
        self.selector.register(self.wake_r, selectors.EVENT_READ)
        self.ended = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ended:
            for key, _ in self.selector.select():
                with self.lock:
                    self._serve(key.fileobj)

    def _serve(self, sock):
        if sock is self.wake_r:
            sock.recv(64)
        elif sock is self.listener:
            self._accept()
        elif sock in self.pairs:
            self._pass_on(sock)

    def _accept(self):
        near, _ = self.listener.accept()
        try:
            far = None if self.is_cut else socket.create_connection(self.target)
        except OSError:
            far = None
        if far is None:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs[one] = other
            self.selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, sock):
        try:
            data = sock.recv(1 << 16)
            if data:
                self.pairs[sock].sendall(data)
                return
        except OSError:
            pass
        self._part(sock)

    def _part(self, sock):
        other = self.pairs.pop(sock, None)
        for one in (sock, other):
            if one is not None:
                self.pairs.pop(one, None)
                self.selector.unregister(one)
                one.close()

    def cut(self):
        """Every connection ends, and no new one is let through."""
        with self.lock:
            self.is_cut = True
            for sock in list(self.pairs):
                if sock in self.pairs:
                    self._part(sock)

    def mend(self):
        with self.lock:
            self.is_cut = False

    def close(self):
        self.cut()
        self.ended = True
        self.wake_w.send(b"x")
        self.thread.join()
        for one in (self.listener, self.wake_r, self.wake_w):
            one.close()

# SPDX-License-Identifier: BSD-3-Clause
"""What stands between agents and a nanoctrl, and changes answers, or keeps them back."""

import contextlib
import http.client
import http.server
import json
import threading

from agents import DEADLINE_S


class Between(http.server.ThreadingHTTPServer):
    """Stands between agents and a nanoctrl; CHANGE(method, path, status, body) may change an answer."""

    daemon_threads = True

    def __init__(self, ctrl):
        self.ctrl, self.n, self.change = ctrl, 0, lambda method, path, status, body: (status, body)
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self):
                between.n += 1
                between.asked(f"{self.command} {self.path}")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                c = http.client.HTTPConnection("127.0.0.1", ctrl.port, timeout=90)
                headers = {k: v for k, v in self.headers.items() if k in ("Content-Type", "Authorization")}
                c.request(self.command, self.path, body or None, headers)
                reply = c.getresponse()
                status, text = reply.status, reply.read()
                c.close()
                status, text = between.change(self.command, self.path, status, text)
                text = text if isinstance(text, bytes) else json.dumps(text).encode()
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = pass_on

            def log_message(self, *args):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *exc):
        self.shutdown()
        self.server_close()

    def asked(self, line):
        pass

    def handle_error(self, *args):
        pass


class Gate(Between):
    """A Between that keeps an answer back until it is told to let it go, and knows what was asked."""

    def __init__(self, ctrl):
        self.held = None  # what the line of a request has in it; under changed, with:
        self.waiting = 0  # answers that are kept back
        self.lines = []
        self.changed = threading.Condition()
        super().__init__(ctrl)
        self.change = self.keep_back

    def __exit__(self, *exc):
        self.hold(None)
        super().__exit__(*exc)

    def asked(self, line):
        with self.changed:
            self.lines.append(line)
            self.changed.notify_all()

    def keep_back(self, method, path, status, body):
        with self.changed:
            if self.held and self.held in f"{method} {path}":
                self.waiting += 1
                self.changed.notify_all()
                self.changed.wait_for(lambda: self.held is None)
                self.waiting -= 1
        return status, body

    def hold(self, part):
        """Keep back the answers to requests that have PART in their line; None: let all of them go."""
        with self.changed:
            self.held = part
            self.changed.notify_all()

    def wait(self, what, happened):
        with self.changed:
            assert self.changed.wait_for(happened, DEADLINE_S), f"waited {DEADLINE_S} s for {what}"

    def wait_held(self):
        self.wait("an answer to keep back", lambda: self.waiting > 0)

    def seen(self, part):
        with self.changed:
            return sum(part in line for line in self.lines)

    def wait_seen(self, part, count):
        self.wait(f"request {count} with {part}", lambda: sum(part in line for line in self.lines) >= count)

"""Where pushes arrive, in this process: what came is kept, what is answered is told beforehand."""

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Came:
    """One push."""

    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body, self.at = method, path, headers, body, time.monotonic()


def status(code, **headers):
    return code, {name.replace("_", "-"): value for name, value in headers.items()}, b""


def error(err):
    """RFC 8935 §2.4"""
    body = json.dumps({"err": err, "description": "a judge says so"}).encode()
    return 400, {"Content-Type": "application/json", "Content-Language": "en"}, body


TAKEN = status(202)
NEVER, RESET = "never", "reset"


class Target:
    """`replies` are used up in order; then everything is taken."""

    def __init__(self, *replies):
        self.replies, self.came, self.news = deque(replies), [], threading.Condition()
        self.ended = threading.Event()
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with target.news:
                    target.came.append(Came(self.command, self.path, self.headers, body.decode("latin-1")))
                    reply = target.replies.popleft() if target.replies else TAKEN
                    target.news.notify_all()
                if reply in (NEVER, RESET):
                    if reply == NEVER:
                        target.ended.wait(60)
                    self.close_connection = True
                    return
                code, headers, content = reply
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/events"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count, limit=10):
        """The pushes, once there are so many; those that there are when they do not come in time."""
        with self.news:
            self.news.wait_for(lambda: len(self.came) >= count, limit)
            return list(self.came)

    def close(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()

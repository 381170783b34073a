"""A host of client ID metadata documents: https on loopback, with the scene's certificate."""

import http.server
import json
import ssl
import threading
from contextlib import contextmanager

from scene import public

# As hosts write them: without a port, for a client whose port is another one in each run.
REDIRECTS = ["http://127.0.0.1/callback", "http://localhost/callback"]


def documents(origin, keys):
    """By path: for each client one document."""
    def document(path, name, **more):
        return {"client_id": origin + path, "client_name": name, "client_uri": origin, "redirect_uris": REDIRECTS,
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], **more}

    public_client = {"token_endpoint_auth_method": "none"}
    keyed = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [public(keys["ES256"])]}}
    return {
        "/python.json": document("/python.json", "Assistant in Python", **public_client),
        "/typescript.json": document("/typescript.json", "Assistant in TypeScript", **public_client),
        "/fastmcp.json": document("/fastmcp.json", "Assistant with FastMCP", **public_client),
        "/keyed.json": document("/keyed.json", "Assistant with keys", **keyed),
        "/liar.json": document("/python.json", "Somebody else's document", **public_client),
        "/secret.json": document("/secret.json", "Document with a secret", client_secret="not-so-secret-in-public",
                                 token_endpoint_auth_method="client_secret_basic"),
    }


@contextmanager
def host(stage):
    """Serves them; the origin, and how often each path was asked for."""
    asked, served = {}, {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked[self.path] = asked.get(self.path, 0) + 1
            body = json.dumps(served.get(self.path)).encode()
            self.send_response(200 if self.path in served else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stage["loopback"]["certificate"], stage["loopback"]["key"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    origin = f"https://localhost:{server.server_port}"
    served |= documents(origin, stage["keys"])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield origin, asked
    finally:
        server.shutdown()

"""Start `writ serve` with everything declared that the judges need, and run one judge against it.

    python scene.py NAME COMMAND [ARGUMENT...]

The server listens on a free loopback port, keeps its data under `target/conformance/scenes/NAME`,
and lives as long as the command. The command finds the issuer, the clients' secrets and keys and the
resources in the JSON file that the variable SCENE names. Keys and secrets are new in every run.
SERVER_BINARY names the binary (default: the release build of this checkout).
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ROOT = Path(__file__).resolve().parent.parent.parent
JUDGE_LIMIT = 300  # seconds; the slowest judge needs a tenth of it
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def key(algorithm):
    """A new private JWK for `algorithm`."""
    if algorithm in ("RS256", "PS256"):
        jwk = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True)
    elif algorithm == "ES256":
        jwk = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    else:
        jwk = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate(), as_dict=True)
    jwk.pop("key_ops", None)
    return jwk | {"alg": algorithm, "kid": f"{algorithm.lower()}-1", "use": "sig"}


def public(jwk):
    return {name: value for name, value in jwk.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}


def secret():
    # All of the unreserved characters that clients encode differently in HTTP Basic occur in it.
    return f"{secrets.token_urlsafe(32)}-._~"


def resource(port, identifier, name, tools, **more):
    """A resource of the apply document. `tools` maps a name to whether it is sensitive."""
    return {
        "id": identifier,
        "resource": f"http://127.0.0.1:{port}/mcp",
        "name": name,
        "tools": [{"name": tool, "description": f"{tool} of {name}", "sensitive": s} for tool, s in tools.items()],
        **more,
    }


def declarations():
    """The apply document, and the private side of it for the judges."""
    keys = {algorithm: key(algorithm) for algorithm in ("RS256", "PS256", "ES256", "EdDSA")}
    ports = {name: free_port() for name in ("weather", "notes", "archive", "vault", "ledger")}
    resources = [
        resource(
            ports["weather"], "weather", "Weather", {"forecast": False, "alert": False},
            default_scopes=["tool:forecast"],
        ),
        resource(
            ports["notes"], "notes", "Notes", {"read_note": False, "write_note": True},
            default_scopes=["tool:read_note"],
        ),
        resource(
            ports["archive"], "archive", "Archive", {"search": False, "purge": True},
            default_scopes=["tool:search"], signing_algorithm="ES256",
        ),
        resource(
            ports["vault"], "vault", "Vault", {"open": False},
            default_scopes=["tool:open"], signing_algorithm="EdDSA", access_token_lifetime=60,
        ),
    ]
    access = [
        {"resource": "weather", "scopes": ["tool:forecast", "tool:alert"]},
        {"resource": "notes", "scopes": ["tool:read_note", "tool:write_note"]},
        {"resource": "archive", "scopes": ["*"]},
        {"resource": "vault", "scopes": ["*"]},
    ]
    clients = [
        {
            "client_id": "agent-basic", "name": "Agent with a secret in the header", "profile": "strict",
            "token_endpoint_auth_method": "client_secret_basic", "client_secret": secret(),
            "grant_types": ["client_credentials"], "access": access, "delegates": ["sub-agent"],
        },
        {
            "client_id": "agent-post", "name": "Agent with a secret in the body", "profile": "strict",
            "token_endpoint_auth_method": "client_secret_post", "client_secret": secret(),
            "grant_types": ["client_credentials"], "access": access,
        },
        {
            "client_id": "agent-key", "name": "Agent with keys", "profile": "strict",
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [public(jwk) for jwk in keys.values()]},
            "grant_types": ["client_credentials"], "access": access,
        },
        {
            "client_id": "sub-agent", "name": "Sub-agent", "profile": "strict",
            "token_endpoint_auth_method": "client_secret_basic", "client_secret": secret(),
            "grant_types": ["client_credentials", EXCHANGE],
            "access": [{"resource": "weather", "scopes": ["tool:forecast"]}],
        },
        {
            "client_id": "weather-server", "name": "The weather server itself", "profile": "strict",
            "token_endpoint_auth_method": "client_secret_basic", "client_secret": secret(),
            "grant_types": [EXCHANGE], "serves": "weather",
            # Who may have a forecast may be looked up in the archive.
            "exchange": [{"resource": "archive", "scopes": [], "translate": {"tool:forecast": ["tool:search"]}}],
        },
    ]
    ledger = resource(
        ports["ledger"], "ledger", "Ledger", {"read": False, "post": True},
        default_scopes=["tool:read"], open_scopes=["tool:read"],
    )
    bookkeeper = {
        "client_id": "bookkeeper", "name": "Bookkeeper", "profile": "strict",
        "token_endpoint_auth_method": "client_secret_basic", "client_secret": secret(),
        "grant_types": ["client_credentials"], "access": [{"resource": "ledger", "scopes": ["*"]}],
    }
    document = {
        "resources": resources,
        "clients": clients,
        "tenants": [{"name": "acme", "registration": "open", "resources": [ledger], "clients": [bookkeeper]}],
    }
    private = {
        "keys": keys,
        "resources": {r["id"]: {"resource": r["resource"], "port": ports[r["id"]]} for r in resources},
        "clients": {c["client_id"]: {k: c.get(k) for k in ("client_id", "client_secret")} for c in clients},
        "tenants": {
            "acme": {
                "resources": {"ledger": {"resource": ledger["resource"], "port": ports["ledger"]}},
                "clients": {"bookkeeper": {k: bookkeeper[k] for k in ("client_id", "client_secret")}},
            }
        },
    }
    return document, private


def binary():
    return Path(os.environ.get("SERVER_BINARY", ROOT / "target/release/writ")).resolve()


def serve(directory, document, settings=None, listen="127.0.0.1:0"):
    """Start the server; the process and what it wrote to its ready file. `settings` are its `WRIT_*` variables."""
    (directory / "apply.json").write_text(json.dumps(document, indent=1))
    ready = directory / "ready.json"
    # Settings that whoever runs this has for servers of their own are none of the judges' business.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WRIT_")}
    environment |= settings or {}
    started = time.monotonic()
    with open(directory / "writ.log", "wb") as log:
        process = subprocess.Popen(
            [binary(), "serve", "--listen", listen, "--data-dir", directory / "data",
             "--apply", directory / "apply.json", "--ready-file", ready],
            stdout=log, stderr=subprocess.STDOUT, cwd=directory, env=environment,
        )
    while not ready.exists():
        if process.poll() is not None or time.monotonic() - started > 20:
            process.kill()
            sys.exit(f"writ serve did not get ready:\n{(directory / 'writ.log').read_text()[-4000:]}")
        time.sleep(0.01)
    print(f"writ serve was ready after {time.monotonic() - started:.2f} s", flush=True)
    return process, json.loads(ready.read_text())


def stop(process, directory):
    """End the server and say what is wrong with the way it lived, if anything."""
    complaints = []
    if process.poll() is not None:
        complaints.append(f"the server ended by itself with {process.returncode}")
    else:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            complaints.append("the server did not end within 15 s of SIGTERM")
            process.kill()
            process.wait()
    if "panicked at" in (directory / "writ.log").read_text(errors="replace"):
        complaints.append("the server panicked")
    return complaints


def place_for(name):
    """The directory of a scene, empty."""
    directory = ROOT / "target/conformance/scenes" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    return directory


def perform(command, directory, document, private, prepare=None, **how):
    """Run `command` while a server lives that has what `document` declares; `how` is for `serve`.

    It is told `private`, which `prepare` may add to when the server is there.
    """
    process, ready = serve(directory, document, **how)
    try:
        issuer = ready["issuer"]
        if prepare:
            prepare(private, ready)
        file = directory / "scene.json"
        place = {"issuer": issuer, "directory": str(directory), "binary": str(binary())}
        file.write_text(json.dumps(place | private, indent=1))
        environment = os.environ | {"SCENE": str(file), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            code = subprocess.run(command, env=environment, timeout=JUDGE_LIMIT).returncode
        except subprocess.TimeoutExpired:
            code = 1
            print(f"FAIL  the judge did not finish within {JUDGE_LIMIT} s", flush=True)
    finally:
        complaints = stop(process, directory)
    for complaint in complaints:
        print(f"FAIL  {complaint}", flush=True)
    if code or complaints:
        print(f"--- the end of the server's log\n{(directory / 'writ.log').read_text(errors='replace')[-3000:]}")
        sys.exit(1)


def main():
    name, command = sys.argv[1], sys.argv[2:]
    document, private = declarations()

    def tenants(private, ready):
        private["tenants"]["acme"]["issuer"] = f"{ready['issuer']}/t/acme"

    perform(command, place_for(name), document, private, prepare=tenants)


if __name__ == "__main__":
    main()

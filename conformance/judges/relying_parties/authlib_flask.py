"""A web application that signs people in with Authlib's integration for Flask.

    python authlib_flask.py ISSUER CLIENT_ID CLIENT_SECRET PORT

`/` shows who is signed in, and signs in whoever is not; `/logout` signs out here and there.
"""

import secrets
import sys
from urllib.parse import urlencode

from authlib.integrations.flask_client import OAuth
from flask import Flask, jsonify, redirect, request, session

issuer, client, secret, port = sys.argv[1:]
origin = f"http://127.0.0.1:{port}"
application = Flask(__name__)
application.secret_key = secrets.token_bytes(32)
application.config["SESSION_COOKIE_NAME"] = "authlib"
writ = OAuth(application).register(
    "writ", client_id=client, client_secret=secret,
    server_metadata_url=f"{issuer}/.well-known/openid-configuration",
    client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
)
hints = {}  # ID tokens are too long for Flask's cookies


@application.get("/")
def home():
    if "who" in session:
        return jsonify(session["who"])
    return writ.authorize_redirect(f"{origin}/callback", response_mode="query")


@application.get("/callback")
def callback():
    tokens = writ.authorize_access_token()
    session["who"] = {"id_token": dict(tokens["userinfo"]), "userinfo": dict(writ.userinfo(token=tokens))}
    hints[session["who"]["id_token"]["sub"]] = tokens["id_token"]
    return redirect("/")


@application.get("/logout")
def logout():
    hint = hints[session.pop("who")["id_token"]["sub"]]
    end = writ.load_server_metadata()["end_session_endpoint"]
    query = {"id_token_hint": hint, "post_logout_redirect_uri": f"{origin}/bye.html", "state": "over"}
    return redirect(f"{end}?{urlencode(query)}")


@application.get("/bye.html")
def bye():
    return jsonify(bye=request.args.get("state"))


@application.errorhandler(Exception)
def failed(error):
    return jsonify(failed=f"{type(error).__name__} {error}"), getattr(error, "code", None) or 500


if __name__ == "__main__":
    application.run("127.0.0.1", int(port))

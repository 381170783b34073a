"""Authlib as token client, with all of our client authentication."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import import_key
from judging import Judge, claims, scene


def main():
    judge, stage = Judge("Authlib"), scene()
    issuer = stage["issuer"]
    resource = stage["resources"]["weather"]["resource"]

    def fetch(session, **more):
        session.trust_env = False
        return session.fetch_token(
            f"{issuer}/token", grant_type="client_credentials", resource=resource, scope="tool:forecast", **more
        )

    def with_secret(client, method, secret=None):
        secret = secret or stage["clients"][client]["client_secret"]
        return OAuth2Session(client, secret, token_endpoint_auth_method=method)

    def with_key(algorithm, audience=issuer):
        session = OAuth2Session("agent-key", import_key(stage["keys"][algorithm]),
                                token_endpoint_auth_method="private_key_jwt")
        session.register_client_auth_method(PrivateKeyJWT(audience, alg=algorithm))
        return session

    ways = {
        "client_secret_basic": ("agent-basic", with_secret("agent-basic", "client_secret_basic")),
        "client_secret_post": ("agent-post", with_secret("agent-post", "client_secret_post")),
        **{f"private_key_jwt with {algorithm}": ("agent-key", with_key(algorithm))
           for algorithm in ("RS256", "PS256", "ES256", "EdDSA")},
    }
    for way, (client, session) in ways.items():
        token = fetch(session)
        judge.equal(f"{way}: a token for the scope asked",
                    (claims(token["access_token"])["client_id"], token["scope"], token["token_type"]),
                    (client, "tool:forecast", "Bearer"))
    with judge.refused("a wrong secret", OAuthError, "invalid_client"):
        fetch(with_secret("agent-basic", "client_secret_basic", "wrong"))
    with judge.refused("an assertion for the token endpoint instead of the issuer (strict profile)",
                       OAuthError, "invalid_client"):
        fetch(with_key("ES256", f"{issuer}/token"))
    judge.finish()


if __name__ == "__main__":
    main()

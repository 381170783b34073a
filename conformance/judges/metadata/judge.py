"""Discovery, as browsers and the models of both SDKs see it: every path form, for the root issuer and a tenant."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from judging import HERE, Judge, http, scene
from mcp.client.auth.utils import build_oauth_authorization_server_metadata_discovery_urls, validate_metadata_issuer
from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata

NAMES = ("oauth-authorization-server", "openid-configuration")


def forms(issuer, path):
    """Where clients look (RFC 8414 section 3.1 inserts, OpenID Connect Discovery appends)."""
    origin = issuer.removesuffix(path)
    inserted = [f"{origin}/.well-known/{name}{path}" for name in NAMES]
    appended = [f"{issuer}/.well-known/{name}" for name in NAMES]
    return list(dict.fromkeys(inserted + appended))


def nulls(value, path=""):
    """The members that are null, anywhere: strict parsers refuse them."""
    if value is None:
        return [path]
    if isinstance(value, dict):
        return [found for name, member in value.items() for found in nulls(member, f"{path}/{name}")]
    if isinstance(value, list):
        return [found for index, member in enumerate(value) for found in nulls(member, f"{path}/{index}")]
    return []


def documents(judge, issuer, path):
    print(f"-- {issuer}")
    first = None
    for url in forms(issuer, path):
        answer = http("GET", url, {"MCP-Protocol-Version": "2026-07-28", "Accept": "application/json"})
        if not judge.equal(f"GET {url} answers 200", answer.status, 200):
            continue
        judge.equal("  as application/json", answer.headers.get_content_type(), "application/json")
        judge.check("  that may be cached for a while", "max-age=" in answer.headers.get("Cache-Control", ""),
                    answer.headers.get("Cache-Control"))
        judge.equal("  with the configured issuer, byte for byte", answer.json()["issuer"], issuer)
        first = first or answer
        judge.check("  and the same content as every other form", answer.body == first.body)
        metadata = OAuthMetadata.model_validate_json(answer.body, strict=True)
        validate_metadata_issuer(metadata, issuer)
        judge.check("  which the Python SDK's model takes, strictly", True)
    tried = build_oauth_authorization_server_metadata_discovery_urls(issuer, "http://unused.example")
    judge.check("every address the Python SDK tries is among these", set(tried) <= set(forms(issuer, path)), tried)
    document = first.json()
    judge.equal("nothing in the document is null", nulls(document), [])
    endpoints = {name: value for name, value in document.items() if name.endswith(("_endpoint", "_uri"))}
    judge.check("every endpoint lies under the issuer", all(u.startswith(f"{issuer}/") for u in endpoints.values()),
                endpoints)
    judge.check("PKCE is S256 and nothing else", document["code_challenge_methods_supported"] == ["S256"])
    judge.check("client credentials and token exchange are offered",
                {"client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"}
                <= set(document["grant_types_supported"]))
    judge.check("the three ways of client authentication are offered",
                {"client_secret_basic", "client_secret_post", "private_key_jwt"}
                <= set(document["token_endpoint_auth_methods_supported"]))
    judge.check("iss in authorization responses is announced",
                document.get("authorization_response_iss_parameter_supported") is True)
    return document, forms(issuer, path)


def browsers(judge, urls, document):
    """What a browser asks before it lets a page's client look (the Fetch standard's CORS protocol)."""
    print("-- from a page of another origin")
    asked = [(url, "GET", "mcp-protocol-version") for url in urls]
    asked.append((document["jwks_uri"], "GET", "mcp-protocol-version"))
    asked.append((document["token_endpoint"], "POST", "authorization,content-type,dpop"))
    if "registration_endpoint" in document:
        asked.append((document["registration_endpoint"], "POST", "content-type,mcp-protocol-version"))
    for url, method, headers in asked:
        answer = http("OPTIONS", url, {"Origin": "https://inspector.example", "Access-Control-Request-Method": method,
                                       "Access-Control-Request-Headers": headers})
        allowed = {name.strip().lower() for name in answer.headers.get("Access-Control-Allow-Headers", "").split(",")}
        judge.check(f"OPTIONS {url} allows {method} with {headers}", answer.status in (200, 204)
                    and answer.headers.get("Access-Control-Allow-Origin") == "*"
                    and method in answer.headers.get("Access-Control-Allow-Methods", "")
                    and set(headers.split(",")) <= allowed,
                    f"{answer.status}, {answer.headers.get('Access-Control-Allow-Headers')}")
    answer = http("GET", urls[0], {"Origin": "https://inspector.example"})
    judge.equal("the document itself may be read", answer.headers.get("Access-Control-Allow-Origin"), "*")
    judge.check("credentials are not invited", "Access-Control-Allow-Credentials" not in answer.headers)
    answer = http("POST", document["token_endpoint"], {"Origin": "https://inspector.example"}, form={})
    exposed = answer.headers.get("Access-Control-Expose-Headers", "").lower()
    judge.check("a refusal of the token endpoint may be read, with its challenge",
                answer.headers.get("Access-Control-Allow-Origin") == "*" and "www-authenticate" in exposed, exposed)


def main():
    judge, stage = Judge("metadata"), scene()
    issuer, tenant = stage["issuer"], stage["tenants"]["acme"]
    document, urls = documents(judge, issuer, "")
    tenant_document, tenant_urls = documents(judge, tenant["issuer"], "/t/acme")
    differing = {name for name in document if document[name] != tenant_document.get(name)}
    judge.note(f"the two differ in {sorted(differing)}")
    judge.check("the tenant has keys of its own",
                not {k["kid"] for k in http("GET", document["jwks_uri"]).json()["keys"]}
                & {k["kid"] for k in http("GET", tenant_document["jwks_uri"]).json()["keys"]})
    browsers(judge, urls + tenant_urls, tenant_document)

    print("-- asked in other ways")
    answer = http("GET", urls[0], {"Host": "evil.example"})
    judge.check("another Host header does not change the issuer",
                answer.status >= 400 or answer.json()["issuer"] == issuer, answer.status)
    judge.equal("HEAD answers 200", http("HEAD", urls[0]).status, 200)
    judge.equal("POST answers 405", http("POST", urls[0], body=b"{}").status, 405)
    judge.equal("Accept: text/html does not matter", http("GET", urls[0], {"Accept": "text/html"}).status, 200)
    judge.equal("a tenant that does not exist: 404",
                http("GET", f"{issuer}/.well-known/oauth-authorization-server/t/nobody").status, 404)

    print("-- metadata of protected resources")
    for identifier, place in (("weather", stage), ("ledger", tenant)):
        answer = http("GET", f"{place['issuer']}/resources/{identifier}/oauth-protected-resource",
                      {"MCP-Protocol-Version": "2026-07-28"})
        if judge.equal(f"{identifier}: Writ publishes it", answer.status, 200):
            metadata = ProtectedResourceMetadata.model_validate_json(answer.body, strict=True)
            judge.equal("  resource is as registered", str(metadata.resource),
                        place["resources"][identifier]["resource"])
            judge.equal("  authorization_servers is this issuer, byte for byte",
                        answer.json()["authorization_servers"], [place["issuer"]])
            judge.equal("  nothing is null", nulls(answer.json()), [])
            judge.equal("  bearer tokens go in the header only", metadata.bearer_methods_supported, ["header"])

    run = subprocess.run([os.environ.get("NODE", "node"), str(HERE / "metadata/typescript.mjs")],
                         capture_output=True, text=True, timeout=60)
    judge.add(run.stdout)
    judge.check("the TypeScript half ran to its end", "judge metadata, TypeScript: " in run.stdout, run.stderr[-800:])
    judge.finish()


if __name__ == "__main__":
    main()

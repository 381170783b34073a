"""PyJWT's verdict on each case; keys from the issuer's JWKS, thumbprints by joserfc."""

import json
import sys

import joserfc.jwk
import jwt

request = json.load(sys.stdin)
keys = jwt.PyJWKClient(request["jwks_uri"])


def verdict(case):
    try:
        key = keys.get_signing_key_from_jwt(case["token"])
        jwt.decode(
            case["token"], key, algorithms=[case["algorithm"]],
            audience=case["audience"], issuer=case["issuer"],
            options={"require": ["exp", "iat", "aud", "iss", "sub", "jti"]},
        )
    except jwt.PyJWTError as refusal:
        return {"accepted": False, "reason": str(refusal)}
    return {"accepted": True}


published = keys.fetch_data()["keys"]
print(json.dumps({
    "version": jwt.__version__,
    "thumbprints": {key["kid"]: joserfc.jwk.import_key(key).thumbprint() for key in published},
    "verdicts": [verdict(case) for case in request["cases"]],
}))

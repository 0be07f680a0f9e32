"""An issuer of tokens. `tokens.py DIR` creates its key, and the JWKS for the service. sdk.py signs tokens with the key."""

import json
import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ISSUER = "https://issuer.test"
AUDIENCE = "api://devicegraph"
READ = "DeviceManagementConfiguration.Read.All"
WRITE = "DeviceManagementConfiguration.ReadWrite.All"
KEY_ID = "of the clients"


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def sign(key, lifetime=600, **claims):
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + lifetime, "oid": "the clients"} | claims
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": KEY_ID})


def load(folder):
    return serialization.load_pem_private_key((Path(folder) / "key.pem").read_bytes(), password=None)


def main(folder):
    key = new_key()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": KEY_ID, "use": "sig", "alg": "RS256"}
    (Path(folder) / "key.pem").write_bytes(pem)
    (Path(folder) / "jwks.json").write_text(json.dumps({"keys": [public]}))


if __name__ == "__main__":
    main(sys.argv[1])

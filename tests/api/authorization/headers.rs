//! `Authorization` headers that must be refused, everywhere or on some routes.

use devicegraph::auth::Access;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp, jwk::Jwk};
use serde_json::{Value, json};

use super::is_open;
use crate::tokens::{Issuer, NAME, READ, WRITE, new_key};

/// Returns the public key in PEM. A verifier that confuses the algorithms takes this text for a
/// secret.
fn public_pem(issuer: &Issuer) -> String {
    let x = Jwk::from_encoding_key(&issuer.pair.key, Algorithm::EdDSA).expect("a key");
    let x = serde_json::to_value(x).expect("JSON")["x"].as_str().expect("the key").to_owned();
    format!(
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA{}=\n-----END PUBLIC KEY-----\n",
        x.replace('-', "+").replace('_', "/")
    )
}

/// A description, an `Authorization` header that is not valid, and the message that refuses it.
pub(super) type Worthless = (&'static str, Option<String>, &'static str);

pub(super) fn worthless(issuer: &Issuer) -> Vec<Worthless> {
    let claims = issuer.claims();
    let now = get_current_timestamp();
    let sign =
        |header: &Header, key: &EncodingKey| format!("Bearer {}", encode(header, &claims, key).expect("a token"));
    let of = |algorithm| Header { kid: Some(issuer.pair.id.clone()), ..Header::new(algorithm) };
    let (stranger, strange_jwk) = new_key();
    let right = issuer.bearer(&claims);
    let (_, rest) = right.split_once('.').expect("a JWT");
    let unsigned = rest.rsplit_once('.').expect("a JWT").0;
    // {"alg":"none","typ":"JWT"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let embedded = Header { jwk: Some(strange_jwk.clone()), ..Header::new(Algorithm::EdDSA) };
    let linked = Header { jku: Some("http://127.0.0.1:1/jwks".to_owned()), ..of(Algorithm::EdDSA) };
    let critical = Header { crit: Some(vec!["exp".to_owned()]), ..of(Algorithm::EdDSA) };
    let hmac = |secret: &str| sign(&of(Algorithm::HS256), &EncodingKey::from_secret(secret.as_bytes()));
    let x = serde_json::to_value(Jwk::from_encoding_key(&issuer.pair.key, Algorithm::EdDSA).expect("a key"));
    let x = x.expect("JSON")["x"].as_str().expect("the key").to_owned();
    let empty = "Access token is empty.";
    let unreadable = "CompactToken parsing failed with error code: 80049217.";
    let no_key = "Access token validation failure. The issuer has no key '";
    vec![
        ("no token", None, empty),
        ("another scheme", Some(right.replacen("Bearer", "Basic", 1)), empty),
        ("a scheme alone", Some("Bearer ".to_owned()), empty),
        ("a token alone", Some(right.replacen("Bearer ", "", 1)), empty),
        ("garbage", Some("Bearer garbage".to_owned()), unreadable),
        ("garbage in three parts", Some("Bearer a.b.c".to_owned()), unreadable),
        ("more after the token", Some(format!("{right}.x")), unreadable),
        ("expired", Some(issuer.with("exp", now - 3600)), "Lifetime validation failed, the token is expired."),
        ("early", Some(issuer.with("nbf", now + 3600)), "Lifetime validation failed, the token is not yet valid."),
        ("no expiry", Some(issuer.with("exp", Value::Null)), "The claim 'exp' of the token is missing"),
        (
            "an expiry that is no number",
            Some(issuer.with("exp", "9999999999")),
            "The claim 'exp' of the token is missing",
        ),
        (
            "wrong issuer",
            Some(issuer.with("iss", "https://elsewhere.example")),
            "Access token validation failure. Invalid issuer: this service does not trust 'https://elsewhere.example'",
        ),
        ("two issuers", Some(issuer.with("iss", json!([NAME, "https://elsewhere.example"]))), unreadable),
        ("no issuer", Some(issuer.with("iss", Value::Null)), unreadable),
        (
            "wrong audience",
            Some(issuer.with("aud", "https://elsewhere.example")),
            "Access token validation failure. Invalid audience.",
        ),
        ("no audience", Some(issuer.with("aud", Value::Null)), "The claim 'aud' of the token is missing"),
        (
            "wrong key",
            Some(sign(&of(Algorithm::EdDSA), &stranger)),
            "Access token validation failure. Invalid signature",
        ),
        (
            "unknown key",
            Some(sign(&Header { kid: Some("another".to_owned()), ..Header::new(Algorithm::EdDSA) }, &stranger)),
            no_key,
        ),
        ("alg none", Some(format!("Bearer {none}.{unsigned}.")), unreadable),
        ("alg none with the signature", Some(format!("Bearer {none}.{rest}")), unreadable),
        ("HS256 with the public key in PEM", Some(hmac(&public_pem(issuer))), no_key),
        ("HS256 with the public key of the JWKS", Some(hmac(&x)), no_key),
        (
            "RS256 that it is not",
            Some(right.replacen(
                right.split('.').next().expect("a header"),
                "Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9",
                1,
            )),
            "Access token validation failure. The issuer has no key for RS256",
        ),
        ("a key in the header", Some(sign(&embedded, &stranger)), "Access token validation failure. Invalid signature"),
        (
            "a key in the header under a known id",
            Some(sign(&Header { jwk: Some(strange_jwk), ..of(Algorithm::EdDSA) }, &stranger)),
            "Access token validation failure. Invalid signature",
        ),
        ("a link to a key", Some(sign(&linked, &stranger)), "Access token validation failure. Invalid signature"),
        ("something critical", Some(sign(&critical, &issuer.pair.key)), "The header of the token has 'crit'"),
        ("a claim of another type", Some(issuer.with("roles", 5)), "A claim of the token cannot be read"),
        ("nobody", Some(issuer.with("oid", "")), "The token does not identify its caller"),
        ("a name that cannot be stored", Some(issuer.with("oid", "a\0b")), "The token does not identify its caller"),
        ("a name without end", Some(issuer.with("oid", "x".repeat(257))), "The token does not identify its caller"),
    ]
}

/// A description, a header with a valid token, and a function that returns whether the permissions
/// of the token are too few for an access.
pub(super) type Powerless = (&'static str, String, fn(Access) -> bool);

pub(super) fn powerless(issuer: &Issuer) -> [Powerless; 8] {
    let delegated = |scp: Value| {
        let mut claims = issuer.claims();
        claims["scp"] = scp;
        issuer.bearer(&claims)
    };
    let any = |access| matches!(access, Access::Read | Access::ReadWrite);
    let write = |access| access == Access::ReadWrite;
    [
        ("no permission", issuer.with("roles", Value::Null), any),
        ("another permission", issuer.with("roles", json!(["DeviceManagementApps.ReadWrite.All"])), any),
        ("nearly the permission", issuer.with("roles", json!([format!("{WRITE}.Not"), WRITE.to_lowercase()])), any),
        ("a user without it, whose roles are no permissions", delegated(json!("User.Read")), any),
        ("an ID token, whose roles are no permissions", issuer.with("nonce", "n"), any),
        ("read on a write", issuer.with("roles", json!([READ])), write),
        ("a user's read on a write", delegated(json!(format!("openid {READ}"))), write),
        ("the consumer tenant", issuer.with("tid", "9188040d-6c67-4c5b-b112-36a304b66dad"), |access| !is_open(access)),
    ]
}

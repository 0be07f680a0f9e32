//! Measures how long it takes to validate a token, the first time and from the cache: `cargo bench
//! --bench token`.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeySize,
    signature::RsaKeyPair,
};
use devicegraph::{
    auth::{mint::KeyPair, tokens::Tokens},
    config::{Auth, Names, Settings},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp, jwk::Jwk};
use serde_json::{Value, json};

const NAME: &str = "https://devicegraph.localhost";
/// The number of tokens of each algorithm. The cache holds all of them.
const TOKENS: usize = 1000;
/// How often each token is sent again.
const AGAIN: usize = 200;

#[actix_web::main]
async fn main() {
    // `cargo test --benches` calls this without `--bench`. There is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let pair = KeyPair::open(folder.path()).expect("a key pair");
    let rsa: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key").as_der().expect("DER");
    let rsa = pem::encode(&pem::Pem::new("PRIVATE KEY", rsa.as_ref()));
    let rsa = EncodingKey::from_rsa_pem(rsa.as_bytes()).expect("a key");
    for (algorithm, key) in [(Algorithm::RS256, &rsa), (Algorithm::EdDSA, &pair.key)] {
        let mut jwk = Jwk::from_encoding_key(key, algorithm).expect("a key");
        jwk.common.key_id = Some("key".to_owned());
        std::fs::write(&pair.jwks, json!({"keys": [jwk]}).to_string()).expect("a file");
        let auth = settings(&pair);
        let tokens = Tokens::new(&auth, &auth.all_issuers().expect("an issuer")).expect("the settings are right");
        measure(algorithm, key, &tokens).await;
    }
}

fn settings(pair: &KeyPair) -> Auth {
    let defaults = ::config::File::from_str(include_str!("../src/default.toml"), ::config::FileFormat::Toml);
    let settings = ::config::Config::builder().add_source(defaults).build();
    let settings: Settings = settings.and_then(::config::Config::try_deserialize).expect("the defaults are settings");
    Auth {
        issuer: Some(NAME.to_owned()),
        audience: Names(vec![NAME.to_owned()]),
        jwks_file: Some(pair.jwks.clone()),
        ..settings.auth
    }
}

/// Returns claims like those of a token of Entra ID. The token is about as long as one of Entra ID.
fn claims(number: usize) -> Value {
    let now = get_current_timestamp();
    json!({
        "iss": NAME, "aud": NAME, "iat": now, "nbf": now, "exp": now + 3600, "oid": format!("user {number}"),
        "sub": "x".repeat(43), "tid": "7e159a72-9a72-7e15-729a-157e729a157e", "azp": "7e159a72-9a72-7e15-729a-157e729a157e",
        "scp": "DeviceManagementConfiguration.ReadWrite.All openid profile email", "rh": "x".repeat(60),
        "name": "Somebody", "uti": "x".repeat(22), "ver": "2.0", "xms_ftd": "x".repeat(300),
    })
}

#[expect(clippy::print_stdout, reason = "what a benchmark is for")]
async fn measure(algorithm: Algorithm, key: &EncodingKey, tokens: &Tokens) {
    let header = Header { kid: Some("key".to_owned()), ..Header::new(algorithm) };
    let all: Vec<_> = (0..TOKENS).map(|number| encode(&header, &claims(number), key).expect("a token")).collect();
    let first = time(&all, tokens).await;
    let mut again = Vec::new();
    for _ in 0..AGAIN {
        again.push(time(&all, tokens).await);
    }
    again.sort_unstable();
    let again = again[AGAIN / 2];
    println!(
        "{algorithm:?}, {} bytes: first {first:?}, then {again:?}, {:.0} times faster",
        all[0].len(),
        first.as_secs_f64() / again.as_secs_f64()
    );
}

/// Returns the average time for one token.
async fn time(all: &[String], tokens: &Tokens) -> Duration {
    let begun = Instant::now();
    for token in all {
        black_box(tokens.caller(token).await.expect("it is valid"));
    }
    begun.elapsed() / TOKENS as u32
}

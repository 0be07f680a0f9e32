//! The keys of issuers: where the service reads them, and when it reads them again.

use std::time::{Duration, Instant};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair},
};
use devicegraph::config::{self, Names, Settings};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp, jwk::Jwk};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use self::provider::{Provider, with_id};
use crate::{
    harness::{Answer, App, CONFIGURATIONS, database, is_remote, reachable_folder, until},
    tokens::{NAME, issuer, new_key},
};

mod provider;

/// How long a request waits for the service to read keys.
const PATIENCE: Duration = Duration::from_millis(900);
/// A timeout in seconds that no test reaches.
const FOREVER: u64 = 3600;

fn claims(issuer_name: &str) -> Value {
    let mut claims = issuer().expect("an issuer").claims();
    claims["iss"] = issuer_name.into();
    claims
}

fn sign(algorithm: Algorithm, id: Option<&str>, claims: &Value, key: &EncodingKey) -> String {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
    format!("Bearer {}", encode(&header, claims, key).expect("a token"))
}

async fn with(app: &App, authorization: &str) -> Answer {
    app.answer(app.anonymous(Method::GET, CONFIGURATIONS).header("authorization", authorization)).await
}

/// Sends a token whose key the service must read first, until the token is accepted. The service
/// may refuse the first request only after it has waited for [`PATIENCE`], because a slow machine
/// may not have read the keys by then.
async fn with_key_to_read(app: &App, authorization: &str) {
    let begun = Instant::now();
    let first = with(app, authorization).await;
    let has_waited = begun.elapsed() >= PATIENCE;
    assert!(first.status == StatusCode::OK || has_waited, "it did not wait: {}", first.text);
    until("the keys are read", async || with(app, authorization).await.status == StatusCode::OK).await;
}

/// Starts the application with one issuer, whose keys are at `provider`.
async fn app_of(provider: &Provider, change: impl FnOnce(&mut Settings)) -> App {
    App::start_on(database(true).await, |settings| {
        settings.auth.issuer = Some(provider.origin.clone());
        settings.auth.jwks_file = None;
        change(settings);
    })
    .await
}

/// Starts the application with the keys of the tests' issuer in a file. Returns the file, too.
async fn app_with_file(keys: &[Value]) -> (App, std::path::PathBuf) {
    let file = reachable_folder().join("jwks.json");
    std::fs::write(&file, json!({"keys": keys}).to_string()).expect("a file");
    let app = App::start_on(database(true).await, |settings| settings.auth.jwks_file = Some(file.clone())).await;
    (app, file)
}

fn pem(der: &Pkcs8V1Der<'_>) -> String {
    pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()))
}

#[actix_web::test]
async fn a_token_must_have_an_algorithm_of_its_key() {
    if is_remote() {
        return;
    }
    let rsa: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key").as_der().expect("DER");
    let rsa = EncodingKey::from_rsa_pem(pem(&rsa).as_bytes()).expect("a key");
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key").to_pkcs8v1().expect("DER");
    let ec =
        EncodingKey::from_ec_pem(pem::encode(&pem::Pem::new("PRIVATE KEY", ec.as_ref())).as_bytes()).expect("a key");
    let (ed, ed_jwk) = new_key();
    let rsa_jwk = |id: &str, changes: Value| {
        let mut jwk = with_id(&Jwk::from_encoding_key(&rsa, Algorithm::RS256).expect("a key"), id);
        jwk.as_object_mut().expect("a key").remove("alg");
        jwk.as_object_mut().expect("a key").extend(changes.as_object().expect("members").clone());
        jwk
    };
    let (app, _) = app_with_file(&[
        json!("no key"),
        json!({"kty": "of tomorrow", "kid": "unknown"}),
        json!({"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}),
        rsa_jwk("rsa", json!({"use": "sig"})),
        rsa_jwk("rsa for PS256", json!({"alg": "PS256", "key_ops": ["verify"]})),
        rsa_jwk("rsa for RS512", json!({"alg": "RS512"})),
        rsa_jwk("rsa for encryption", json!({"use": "enc"})),
        rsa_jwk("rsa for encryption too", json!({"key_ops": ["encrypt"]})),
        with_id(&Jwk::from_encoding_key(&ec, Algorithm::ES256).expect("a key"), "ec"),
        with_id(&ed_jwk, "ed"),
    ])
    .await;
    let secret = EncodingKey::from_secret(b"secret");
    for (algorithm, id, key, is_right) in [
        (Algorithm::RS256, Some("rsa"), &rsa, true),
        (Algorithm::PS256, Some("rsa"), &rsa, true),
        (Algorithm::ES256, Some("ec"), &ec, true),
        (Algorithm::EdDSA, Some("ed"), &ed, true),
        (Algorithm::PS256, Some("rsa for PS256"), &rsa, true),
        // For a token without a key id, the service tries every key of the algorithm.
        (Algorithm::RS256, None, &rsa, true),
        (Algorithm::ES256, None, &ec, true),
        (Algorithm::EdDSA, None, &ed, true),
        (Algorithm::RS384, Some("rsa"), &rsa, false),
        (Algorithm::RS512, Some("rsa"), &rsa, false),
        (Algorithm::PS512, Some("rsa"), &rsa, false),
        (Algorithm::RS256, Some("rsa for PS256"), &rsa, false),
        (Algorithm::RS512, Some("rsa for RS512"), &rsa, false),
        (Algorithm::RS256, Some("rsa for RS512"), &rsa, false),
        (Algorithm::RS256, Some("rsa for encryption"), &rsa, false),
        (Algorithm::RS256, Some("rsa for encryption too"), &rsa, false),
        (Algorithm::RS256, Some("ec"), &rsa, false),
        (Algorithm::ES256, Some("rsa"), &ec, false),
        (Algorithm::ES256, Some("ed"), &ec, false),
        (Algorithm::HS256, Some("secret"), &secret, false),
        (Algorithm::HS256, None, &secret, false),
    ] {
        let answer = with(&app, &sign(algorithm, id, &claims(NAME), key)).await;
        let expected = if is_right { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(answer.status, expected, "{algorithm:?} with {id:?}: {}", answer.text);
    }
}

#[actix_web::test]
async fn discovery_says_where_the_keys_are() {
    if is_remote() {
        return;
    }
    let provider = Provider::start();
    let key = provider.add_key("one");
    let app = app_of(&provider, |_| ()).await;
    let token = sign(Algorithm::EdDSA, Some("one"), &claims(&provider.origin), &key);
    with_key_to_read(&app, &token).await;
    assert_eq!(app.get("/health/ready").await.status, StatusCode::OK);

    // A discovery document of another issuer gives no keys.
    let other = Provider::start();
    other.add_key("one");
    other.change(|state| state.named = Some("https://elsewhere.example".to_owned()));
    let app = app_of(&other, |_| ()).await;
    let answer = with(&app, &sign(Algorithm::EdDSA, Some("one"), &claims(&other.origin), &key)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    assert_eq!((app.get("/health/ready").await.status, other.asked()), (StatusCode::SERVICE_UNAVAILABLE, 0));
}

#[actix_web::test]
async fn a_new_key_is_accepted_at_once_and_a_removed_key_is_refused() {
    if is_remote() {
        return;
    }
    let provider = Provider::start();
    let old = provider.add_key("old");
    let change = |settings: &mut Settings| {
        settings.auth.jwks_url = Some(format!("{}/keys", provider.origin));
        settings.auth.unknown_key_seconds = FOREVER;
    };
    let app = app_of(&provider, change).await;
    let by = |id: &str, key: &EncodingKey| sign(Algorithm::EdDSA, Some(id), &claims(&provider.origin), key);
    let by_old = by("old", &old);
    until("the keys are read at the start", async || app.get("/health/ready").await.status == StatusCode::OK).await;
    for _ in 0..2 {
        assert_eq!(with(&app, &by_old).await.status, StatusCode::OK);
    }
    provider.change(|state| state.keys.clear());
    let new = provider.add_key("new");
    with_key_to_read(&app, &by("new", &new)).await;
    let refusal = with(&app, &by_old).await.refusal();
    assert!(refusal.starts_with("401 InvalidAuthenticationToken: Access token validation failure. "), "{refusal}");

    // Tokens with unknown keys do not make the service read the keys each time.
    let asked = provider.asked();
    let unknown: Vec<_> = (0..20).map(|number| by(&format!("unknown {number}"), &old)).collect();
    for answer in futures_util::future::join_all(unknown.iter().map(|token| with(&app, token))).await {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text);
    }
    assert_eq!(provider.asked(), asked);
}

#[actix_web::test]
async fn an_unknown_key_makes_the_service_read_the_keys_after_the_pause() {
    if is_remote() {
        return;
    }
    let provider = Provider::start();
    let one = provider.add_key("one");
    let app = app_of(&provider, |settings| settings.auth.unknown_key_seconds = 1).await;
    let one = sign(Algorithm::EdDSA, Some("one"), &claims(&provider.origin), &one);
    with_key_to_read(&app, &one).await;
    let (key, jwk) = new_key();
    let two = sign(Algorithm::EdDSA, Some("two"), &claims(&provider.origin), &key);
    let before = provider.asked();
    until("an unknown key makes the service read the keys", async || {
        assert_eq!(with(&app, &two).await.status, StatusCode::UNAUTHORIZED);
        provider.asked() > before
    })
    .await;
    provider.change(|state| state.keys.push(with_id(&jwk, "two")));
    until("the keys are read again", async || with(&app, &two).await.status == StatusCode::OK).await;
    let answered = provider.state().answered.clone();
    let pauses: Vec<_> = answered[before..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(!pauses.is_empty() && pauses.iter().all(|pause| *pause >= Duration::from_secs(1)), "{pauses:?}");
}

#[actix_web::test]
async fn keys_are_read_again_in_time() {
    if is_remote() {
        return;
    }
    let provider = Provider::start();
    let key = provider.add_key("one");
    let app = app_of(&provider, |settings| settings.auth.refresh_seconds = 1).await;
    let token = sign(Algorithm::EdDSA, Some("one"), &claims(&provider.origin), &key);
    with_key_to_read(&app, &token).await;
    // The key is withdrawn, and no token asks for another key.
    provider.change(|state| state.keys.clear());
    until("the key is gone", async || with(&app, &token).await.status == StatusCode::UNAUTHORIZED).await;
}

#[actix_web::test]
async fn keys_stay_while_the_issuer_cannot_be_reached() {
    if is_remote() {
        return;
    }
    let provider = Provider::start();
    let key = provider.add_key("one");
    let change = |settings: &mut Settings| {
        settings.auth.refresh_seconds = 1;
        settings.auth.unknown_key_seconds = 0;
    };
    let app = app_of(&provider, change).await;
    let by = |id: &str| sign(Algorithm::EdDSA, Some(id), &claims(&provider.origin), &key);
    with_key_to_read(&app, &by("one")).await;
    provider.change(|state| state.is_down = true);
    // At the second request, the service has noted the failure of the first one.
    until("the issuer has refused two requests", async || provider.state().refused >= 2).await;
    assert_eq!(with(&app, &by("two")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(with(&app, &by("one")).await.status, StatusCode::OK);
    assert_eq!(app.get("/health/ready").await.status, StatusCode::OK);
}

#[actix_web::test]
async fn requests_are_503_until_the_issuer_is_reached_for_the_first_time() {
    if is_remote() {
        return;
    }
    let provider = Provider::start();
    let key = provider.add_key("one");
    provider.change(|state| state.is_down = true);
    let app = app_of(&provider, |settings| settings.auth.unknown_key_seconds = 0).await;
    let token = sign(Algorithm::EdDSA, Some("one"), &claims(&provider.origin), &key);
    let answer = with(&app, &token).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    answer.header("retry-after");
    assert_eq!(with(&app, "").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.answer(app.anonymous(Method::GET, "/health/ready")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    provider.change(|state| state.is_down = false);
    with_key_to_read(&app, &token).await;
    assert_eq!(app.answer(app.anonymous(Method::GET, "/health/ready")).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn a_slow_issuer_is_read_once_for_many_requests_and_none_of_them_waits_for_long() {
    if is_remote() {
        return;
    }
    let provider = Provider::start();
    let key = provider.add_key("one");
    let change = |settings: &mut Settings| {
        settings.auth.jwks_url = Some(format!("{}/keys", provider.origin));
        settings.auth.unknown_key_seconds = 1;
    };
    let app = app_of(&provider, change).await;
    let by = |id: &str, key: &EncodingKey| sign(Algorithm::EdDSA, Some(id), &claims(&provider.origin), key);
    let (known, strange) = (by("one", &key), by("two", &key));
    with_key_to_read(&app, &known).await;
    // The service waits at most five seconds for the keys. An attempt on a machine that needs
    // longer proves nothing and is repeated.
    until("every request is answered while the service waits for the issuer", async || {
        let (new, jwk) = new_key();
        let by_new = by("three", &new);
        let (received, abandoned) = provider.counts();
        provider.change(|state| {
            state.keys.truncate(1);
            state.keys.push(with_id(&jwk, "three"));
            state.is_held = true;
        });
        // A client that disconnects does not cancel the read of the keys.
        let hangs_up = async { while with(&app, &by_new).await.status != StatusCode::OK {} };
        tokio::select! {
            () = hangs_up => panic!("the issuer has not answered"),
            () = until("the keys are read", async || provider.counts().0 > received) => {}
        }
        let strangers = futures_util::future::join_all((0..50).map(|_| with(&app, &strange)));
        let (strangers, friend) = tokio::join!(strangers, with(&app, &known));
        provider.change(|state| state.is_held = false);
        assert_eq!(friend.status, StatusCode::OK);
        assert!(strangers.iter().all(|answer| answer.status == StatusCode::UNAUTHORIZED));
        until("the new key is known", async || with(&app, &by_new).await.status == StatusCode::OK).await;
        provider.answer_all().await;
        let (received_now, abandoned_now) = provider.counts();
        assert!(received_now - received <= 2, "{} readings", received_now - received);
        abandoned_now == abandoned
    })
    .await;
}

#[actix_web::test]
async fn several_issuers_have_their_own_keys_and_audiences() {
    if is_remote() {
        return;
    }
    let (one, two) = (Provider::start(), Provider::start());
    let (key_of_one, key_of_two) = (one.add_key("same id"), two.add_key("same id"));
    let second = config::Issuer {
        issuer: two.origin.clone(),
        audience: Names(vec!["second".to_owned(), "third".to_owned()]),
        jwks_file: None,
        jwks_url: None,
    };
    let app = app_of(&one, |settings| settings.auth.issuers.push(second)).await;
    let by = |issuer: &Provider, audience: &str, key: &EncodingKey| {
        let mut claims = claims(&issuer.origin);
        claims["aud"] = audience.into();
        sign(Algorithm::EdDSA, Some("same id"), &claims, key)
    };
    for token in [by(&one, NAME, &key_of_one), by(&two, "second", &key_of_two)] {
        with_key_to_read(&app, &token).await;
    }
    for (token, status) in [
        (by(&two, "third", &key_of_two), StatusCode::OK),
        (by(&two, NAME, &key_of_two), StatusCode::UNAUTHORIZED),
        (by(&one, "second", &key_of_one), StatusCode::UNAUTHORIZED),
        (by(&one, NAME, &key_of_two), StatusCode::UNAUTHORIZED),
        (by(&two, "second", &key_of_one), StatusCode::UNAUTHORIZED),
    ] {
        let answer = with(&app, &token).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[actix_web::test]
async fn a_remembered_token_ends_with_its_time_and_its_key() {
    if is_remote() {
        return;
    }
    let (key, jwk) = new_key();
    let file = reachable_folder().join("jwks.json");
    std::fs::write(&file, json!({"keys": [with_id(&jwk, "one")]}).to_string()).expect("a file");
    let app = App::start_on(database(true).await, |settings| {
        settings.auth.jwks_file = Some(file.clone());
        settings.auth.leeway_seconds = 0;
    })
    .await;
    let by = |claims: &Value| sign(Algorithm::EdDSA, Some("one"), claims, &key);
    let long = by(&claims(NAME));
    // On a slow machine, the token may expire before the first request. Each attempt doubles the
    // lifetime.
    let (mut short, mut lifetime) = (claims(NAME), 1);
    until("a token is used and expires", async || {
        let expires = get_current_timestamp() + lifetime;
        lifetime *= 2;
        short["exp"] = expires.into();
        let (short, mut was_used) = (by(&short), false);
        loop {
            let sent = get_current_timestamp();
            let answer = with(&app, &short).await;
            if answer.status != StatusCode::OK {
                assert!(get_current_timestamp() > expires, "it has not expired");
                let refusal = answer.refusal();
                assert!(refusal.starts_with("401 InvalidAuthenticationToken: Lifetime validation failed"), "{refusal}");
                break was_used;
            }
            assert!(sent <= expires, "it has expired");
            assert_eq!(with(&app, &long).await.status, StatusCode::OK);
            was_used = true;
            actix_web::rt::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(with(&app, &long).await.status, StatusCode::OK);

    // The file gets another key. The service reads the file when a token names this key.
    let (key, jwk) = new_key();
    std::fs::write(&file, json!({"keys": [with_id(&jwk, "two")]}).to_string()).expect("a file");
    with_key_to_read(&app, &sign(Algorithm::EdDSA, Some("two"), &claims(NAME), &key)).await;
    assert_eq!(with(&app, &long).await.status, StatusCode::UNAUTHORIZED);
}

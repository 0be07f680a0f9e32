//! Where the keys of an issuer come from, and when they are read again.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair},
};
use devicegraph::config::{self, Names, Settings};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp, jwk::Jwk};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    harness::{Answer, App, CONFIGURATIONS, database, is_remote, reachable_folder},
    tokens::{NAME, issuer, new_key},
};

/// What an identity provider answers on its paths, and how often it was asked for keys.
#[derive(Clone)]
struct Provider {
    origin: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    keys: Vec<Value>,
    is_down: bool,
    delay: Duration,
    named: Option<String>,
    asked: usize,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let provider = Self { origin, state: Arc::default() };
        let serving = provider.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let line = lines.next().unwrap_or_default();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let delay = serving.state.lock().expect("the state").delay;
                thread::sleep(delay);
                let (status, body) = serving.answer(line.split(' ').nth(1).unwrap_or_default());
                let head =
                    format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                // Whoever asked may have had enough.
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        provider
    }

    fn answer(&self, path: &str) -> (u16, String) {
        let mut state = self.state.lock().expect("the state");
        let named = state.named.clone().unwrap_or_else(|| self.origin.clone());
        match path {
            _ if state.is_down => (500, String::new()),
            "/.well-known/openid-configuration" => {
                (200, json!({"issuer": named, "jwks_uri": format!("{}/keys", self.origin)}).to_string())
            }
            "/keys" => {
                state.asked += 1;
                (200, json!({"keys": state.keys}).to_string())
            }
            _ => (404, String::new()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("the state"));
    }

    fn asked(&self) -> usize {
        self.state.lock().expect("the state").asked
    }

    /// A key with this id, which is then among its keys.
    fn add_key(&self, id: &str) -> EncodingKey {
        let (key, jwk) = new_key();
        self.change(|state| state.keys.push(with_id(&jwk, id)));
        key
    }
}

fn with_id(jwk: &Jwk, id: &str) -> Value {
    let mut jwk = serde_json::to_value(jwk).expect("JSON");
    jwk["kid"] = id.into();
    jwk
}

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

/// The application, with one issuer whose keys are at `provider`.
async fn app_of(provider: &Provider, change: impl FnOnce(&mut Settings)) -> App {
    App::start_on(database(true).await, |settings| {
        settings.auth.issuer = Some(provider.origin.clone());
        settings.auth.jwks_file = None;
        change(settings);
    })
    .await
}

/// The application, with the keys of the tests' issuer in this file.
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
async fn the_algorithm_is_the_keys() {
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
        // Without an id every key of the algorithm is tried.
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
    let answer = with(&app, &token).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(app.get("/health/ready").await.status, StatusCode::OK);

    // Somebody else's document gives no keys.
    let other = Provider::start();
    other.add_key("one");
    other.change(|state| state.named = Some("https://elsewhere.example".to_owned()));
    let app = app_of(&other, |_| ()).await;
    let answer = with(&app, &sign(Algorithm::EdDSA, Some("one"), &claims(&other.origin), &key)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    assert_eq!((app.get("/health/ready").await.status, other.asked()), (StatusCode::SERVICE_UNAVAILABLE, 0));
}

#[actix_web::test]
async fn a_new_key_is_known_at_once_and_a_removed_one_no_more() {
    if is_remote() {
        return;
    }
    let provider = Provider::start();
    let old = provider.add_key("old");
    let at_url = |settings: &mut Settings| settings.auth.jwks_url = Some(format!("{}/keys", provider.origin));
    let app = app_of(&provider, at_url).await;
    let by = |id: &str, key: &EncodingKey| sign(Algorithm::EdDSA, Some(id), &claims(&provider.origin), key);
    let by_old = by("old", &old);
    for _ in 0..2 {
        assert_eq!(with(&app, &by_old).await.status, StatusCode::OK);
    }
    provider.change(|state| state.keys.clear());
    let new = provider.add_key("new");
    assert_eq!(with(&app, &by("new", &new)).await.status, StatusCode::OK);
    let refusal = with(&app, &by_old).await.refusal();
    assert!(refusal.starts_with("401 InvalidAuthenticationToken: Access token validation failure. "), "{refusal}");

    // Strangers cannot have the provider asked all the time.
    let asked = provider.asked();
    let unknown: Vec<_> = (0..20).map(|number| by(&format!("unknown {number}"), &old)).collect();
    for answer in futures_util::future::join_all(unknown.iter().map(|token| with(&app, token))).await {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text);
    }
    assert_eq!(provider.asked(), asked);
}

#[actix_web::test]
async fn a_token_with_an_unknown_key_has_the_keys_read_after_the_pause() {
    if is_remote() {
        return;
    }
    let provider = Provider::start();
    let one = provider.add_key("one");
    let app = app_of(&provider, |settings| settings.auth.unknown_key_seconds = 1).await;
    let one = sign(Algorithm::EdDSA, Some("one"), &claims(&provider.origin), &one);
    assert_eq!(with(&app, &one).await.status, StatusCode::OK);
    let (key, jwk) = new_key();
    let two = sign(Algorithm::EdDSA, Some("two"), &claims(&provider.origin), &key);
    assert_eq!(with(&app, &two).await.status, StatusCode::UNAUTHORIZED);
    provider.change(|state| state.keys.push(with_id(&jwk, "two")));
    assert_eq!(with(&app, &two).await.status, StatusCode::UNAUTHORIZED, "within the pause");
    actix_web::rt::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(with(&app, &two).await.status, StatusCode::OK);
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
    assert_eq!(with(&app, &token).await.status, StatusCode::OK);
    // Withdrawn, with nobody asking for another.
    provider.change(|state| state.keys.clear());
    let mut answer = with(&app, &token).await;
    for _ in 0..50 {
        if answer.status == StatusCode::UNAUTHORIZED {
            break;
        }
        actix_web::rt::time::sleep(Duration::from_millis(100)).await;
        answer = with(&app, &token).await;
    }
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text);
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
    assert_eq!(with(&app, &by("one")).await.status, StatusCode::OK);
    provider.change(|state| state.is_down = true);
    actix_web::rt::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(with(&app, &by("two")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(with(&app, &by("one")).await.status, StatusCode::OK);
    assert_eq!(app.get("/health/ready").await.status, StatusCode::OK);
}

#[actix_web::test]
async fn an_issuer_that_was_never_reached_is_503_and_then_known() {
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
    assert_eq!(with(&app, &token).await.status, StatusCode::OK);
    assert_eq!(app.answer(app.anonymous(Method::GET, "/health/ready")).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn a_slow_issuer_is_read_once_however_many_ask_and_nobody_waits_for_long() {
    if is_remote() {
        return;
    }
    let provider = Provider::start();
    let key = provider.add_key("one");
    let app = app_of(&provider, |settings| settings.auth.unknown_key_seconds = 1).await;
    let by = |id: &str| sign(Algorithm::EdDSA, Some(id), &claims(&provider.origin), &key);
    let (known, strange) = (by("one"), by("two"));
    assert_eq!(with(&app, &known).await.status, StatusCode::OK);
    let asked = provider.asked();
    provider.change(|state| state.delay = Duration::from_secs(2));
    let begun = Instant::now();
    let strangers = futures_util::future::join_all((0..50).map(|_| with(&app, &strange)));
    let (strangers, friend) = tokio::join!(strangers, with(&app, &known));
    assert!(begun.elapsed() < Duration::from_millis(1800), "{:?}", begun.elapsed());
    assert_eq!(friend.status, StatusCode::OK);
    assert!(strangers.iter().all(|answer| answer.status == StatusCode::UNAUTHORIZED));

    // Who hangs up does not have the reading thrown away.
    let new = provider.add_key("three");
    let by_new = sign(Algorithm::EdDSA, Some("three"), &claims(&provider.origin), &new);
    let _ = actix_web::rt::time::timeout(Duration::from_millis(50), with(&app, &by_new)).await;
    let mut answer = with(&app, &by_new).await;
    while answer.status != StatusCode::OK && begun.elapsed() < Duration::from_secs(15) {
        actix_web::rt::time::sleep(Duration::from_millis(200)).await;
        answer = with(&app, &by_new).await;
    }
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(provider.asked() - asked <= 4, "{} readings", provider.asked() - asked);
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
    for (token, status) in [
        (by(&one, NAME, &key_of_one), StatusCode::OK),
        (by(&two, "second", &key_of_two), StatusCode::OK),
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
    let mut short = claims(NAME);
    short["exp"] = (get_current_timestamp() + 2).into();
    let (short, long) =
        (sign(Algorithm::EdDSA, Some("one"), &short, &key), sign(Algorithm::EdDSA, Some("one"), &claims(NAME), &key));
    for _ in 0..3 {
        assert_eq!(with(&app, &short).await.status, StatusCode::OK);
        assert_eq!(with(&app, &long).await.status, StatusCode::OK);
    }
    actix_web::rt::time::sleep(Duration::from_millis(3100)).await;
    let refusal = with(&app, &short).await.refusal();
    assert!(refusal.starts_with("401 InvalidAuthenticationToken: Lifetime validation failed"), "{refusal}");
    assert_eq!(with(&app, &long).await.status, StatusCode::OK);

    // Another key in the file, seen when a token names it.
    let (key, jwk) = new_key();
    std::fs::write(&file, json!({"keys": [with_id(&jwk, "two")]}).to_string()).expect("a file");
    assert_eq!(with(&app, &sign(Algorithm::EdDSA, Some("two"), &claims(NAME), &key)).await.status, StatusCode::OK);
    assert_eq!(with(&app, &long).await.status, StatusCode::UNAUTHORIZED);
}

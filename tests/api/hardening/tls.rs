//! TLS, and the certificate of the service.

use std::{io::Write, net::TcpStream, path::PathBuf, sync::Arc};

use devicegraph::{config::Settings, tls::Certificate};
use ureq::tls::{RootCerts, TlsConfig};

use super::{authorization, impatient, until_closed};
use crate::harness::{App, CONFIGURATIONS, LIMIT, database, is_remote, reachable_folder};

/// Writes a certificate for `localhost` and its key to a folder. Returns the paths of both and the
/// certificate.
pub(super) fn certificate(folder: &std::path::Path) -> (PathBuf, PathBuf, ureq::tls::Certificate<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&chain, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    (chain, key, ureq::tls::Certificate::from_der(made.cert.der()).to_owned())
}

#[actix_web::test]
async fn with_a_certificate_it_speaks_https_and_nothing_else() {
    if is_remote() {
        return;
    }
    let folder = reachable_folder();
    let (chain, key, trusted) = certificate(&folder);
    let with_certificate = |settings: &mut Settings| {
        settings.server.tls_certificate = Some(chain.clone());
        settings.server.tls_key = Some(key.clone());
    };
    let app = App::start_on(database(true).await, with_certificate).await;
    let impatient = impatient(|settings| {
        with_certificate(settings);
        settings.server.tls_handshake_timeout_seconds = 1;
    })
    .await;
    let address = app.origin.strip_prefix("https://127.0.0.1").expect("its origin is https").to_owned();
    let origin = format!("https://localhost{address}");
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[trusted]))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let agent = ureq::Agent::config_builder().tls_config(tls.build()).http_status_as_error(false).build().new_agent();
    let authorization = authorization();
    let body = r##"{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"a test"}"##;
    let created = actix_web::rt::task::spawn_blocking(move || {
        let url = format!("{origin}{CONFIGURATIONS}");
        let create =
            agent.post(&url).header("authorization", &authorization).header("content-type", "application/json");
        let created = create.send(body).expect("an answer");
        assert_eq!(created.status(), 201);
        assert_eq!(created.headers()["strict-transport-security"], "max-age=31536000");
        let location = created.headers()["location"].to_str().expect("text").to_owned();
        assert!(location.starts_with(&origin), "{location}");
        assert_eq!(agent.get(&url).call().expect("an answer").status(), 401);
    });
    created.await.expect("a thread");
    // Plain HTTP gets no answer.
    let mut plain = TcpStream::connect(format!("127.0.0.1{address}")).expect("the service listens");
    plain.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let answer = until_closed(plain).await;
    assert!(!answer.contains("HTTP/"), "{answer}");
    // A client that does not start the handshake is disconnected.
    let silent = TcpStream::connect(impatient.origin.trim_start_matches("https://")).expect("the service listens");
    silent.set_read_timeout(Some(LIMIT)).expect("a socket");
    assert_eq!(until_closed(silent).await, "");
    std::fs::remove_dir_all(folder).expect("a folder");
}

#[test]
fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let folder = reachable_folder();
    let mut settings = crate::harness::settings().server;
    let files = certificate(&folder);
    (settings.tls_certificate, settings.tls_key) = (Some(files.0.clone()), Some(files.1.clone()));
    let loaded = Arc::new(Certificate::load(&settings).expect("it is right").expect("it is set"));
    assert_eq!(loaded.server_config().expect("TLS").alpn_protocols, [b"http/1.1"]);
    let first = loaded.current().cert.clone();
    assert!(!loaded.renew().expect("nothing is wrong"), "nothing has changed");
    std::fs::write(&files.1, "no key").expect("a file");
    let error = format!("{:#}", loaded.renew().expect_err("a broken key"));
    assert!(error.starts_with("server.tls_key: ") && error.ends_with("tls.key holds no private key in PEM"), "{error}");
    assert_eq!(loaded.current().cert, first);
    certificate(&folder);
    assert!(loaded.renew().expect("it is right"));
    assert_ne!(loaded.current().cert, first);

    // This is the key of another certificate.
    let other = reachable_folder();
    certificate(&other);
    std::fs::copy(other.join("tls.key"), &files.1).expect("a file");
    let error = format!("{:#}", Certificate::load(&settings).expect_err("they do not fit"));
    assert!(error.contains("does not belong to the certificate in"), "{error}");
    std::fs::write(&files.0, "").expect("a file");
    let error = format!("{:#}", Certificate::load(&settings).expect_err("an empty file"));
    assert!(error.ends_with("holds no certificate in PEM"), "{error}");
    settings.tls_key = None;
    let error = format!("{:#}", Certificate::load(&settings).expect_err("a certificate without a key"));
    assert_eq!(error, "server.tls_certificate is set and server.tls_key is not; set both");
    for folder in [folder, other] {
        std::fs::remove_dir_all(folder).expect("a folder");
    }
}

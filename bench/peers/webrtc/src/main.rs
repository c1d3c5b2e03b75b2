//! `webrtc-echo HOST PORT CERT KEY`: an echo server on webrtc-dtls, a task for each session.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use webrtc_dtls::config::Config;
use webrtc_dtls::conn::DTLSConn;
use webrtc_dtls::crypto::{Certificate, CryptoPrivateKey};
use webrtc_util::conn::conn_udp_listener::ListenConfig;
use webrtc_util::conn::{Conn, Listener};

const HANDSHAKE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, cert, key] = &arguments[..] else { panic!("usage: webrtc-echo HOST PORT CERT KEY") };
    let config = Config { certificates: vec![certificate(cert, key)], ..Config::default() };
    let listener = ListenConfig::default().listen(format!("{host}:{port}")).await.expect("bound");
    println!("listening on {host} port {}", listener.addr().await.expect("an address").port());
    // Its own `listen` does the handshakes one after the other, and waits for ever for one that stops.
    while let Ok((peer, _)) = listener.accept().await {
        tokio::spawn(serve(peer, config.clone()));
    }
}

async fn serve(peer: Arc<dyn Conn + Send + Sync>, config: Config) {
    match timeout(HANDSHAKE, DTLSConn::new(peer.clone(), config, false, None)).await {
        Ok(Ok(session)) => echo(session).await,
        _ => drop(peer.close().await),
    }
}

fn certificate(cert: &str, key: &str) -> Certificate {
    let read = |file: &str| std::fs::read_to_string(file).expect("a file");
    let key = rcgen::KeyPair::from_pem(&read(key)).expect("a key");
    let cert = pem::parse(read(cert)).expect("PEM").into_contents();
    Certificate {
        certificate: vec![cert.into()],
        private_key: CryptoPrivateKey::from_key_pair(&key).expect("a key of a kind that it has"),
    }
}

async fn echo(session: DTLSConn) {
    let mut buffer = vec![0; 16_384];
    while let Ok(length) = Conn::recv(&session, &mut buffer).await {
        if length == 0 || Conn::send(&session, &buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = Conn::close(&session).await;
}

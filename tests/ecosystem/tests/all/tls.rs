//! rustls by both of its adapter families, against each other and against OpenSSL. Both ends must say that they are done
//! (`close_notify`): rustls makes an error of an end without it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use ringtoss::compat::PollIo;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss_ecosystem::{Server, connect, free_address, noise, output_of, program, run};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A certificate and its key, as files and as what rustls wants.
pub(crate) struct Identity {
    folder: TempDir,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl Identity {
    pub(crate) fn new() -> Identity {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        std::fs::write(folder.path().join("certificate"), &certificate).unwrap();
        std::fs::write(folder.path().join("key"), &key).unwrap();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Identity { folder, server: Arc::new(server), client: Arc::new(client) }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

async fn pair() -> (PollIo<TcpStream>, PollIo<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (PollIo::new(client), PollIo::new(listener.accept().await.unwrap().0))
}

const MUCH: usize = 2_000_000;

/// The client is of one family, the server of the other; the client ends its direction first.
#[test]
fn the_families_talk_to_each_other() {
    run(async {
        let identity = Identity::new();
        let (client, server) = pair().await;
        let acceptor = futures_rustls::TlsAcceptor::from(identity.server.clone());
        let server = ringtoss::spawn(async move {
            let mut tls = acceptor.accept(server).await.unwrap();
            let mut all = Vec::new();
            tls.read_to_end(&mut all).await.expect("with close_notify");
            tls.write_all(&all).await.unwrap();
            tls.close().await.unwrap();
        });
        let connector = tokio_rustls::TlsConnector::from(identity.client.clone());
        let mut tls = connector.connect(localhost(), client).await.unwrap();
        tls.write_all(&noise(MUCH)).await.unwrap();
        tls.shutdown().await.unwrap();
        let mut all = Vec::new();
        tls.read_to_end(&mut all).await.expect("with close_notify");
        assert!(all == noise(MUCH));
        server.await.unwrap();
    });
}

#[test]
fn and_the_other_way_round() {
    run(async {
        let identity = Identity::new();
        let (client, server) = pair().await;
        let acceptor = tokio_rustls::TlsAcceptor::from(identity.server.clone());
        let server = ringtoss::spawn(async move {
            let mut tls = acceptor.accept(server).await.unwrap();
            let mut all = Vec::new();
            tls.read_to_end(&mut all).await.expect("with close_notify");
            tls.write_all(&all).await.unwrap();
            tls.shutdown().await.unwrap();
        });
        let connector = futures_rustls::TlsConnector::from(identity.client.clone());
        let mut tls = connector.connect(localhost(), client).await.unwrap();
        tls.write_all(&noise(MUCH)).await.unwrap();
        tls.close().await.unwrap();
        let mut all = Vec::new();
        tls.read_to_end(&mut all).await.expect("with close_notify");
        assert!(all == noise(MUCH));
        server.await.unwrap();
    });
}

/// An end that was not said to be one, by a peer that is cut off, is an error.
#[test]
fn a_connection_that_is_cut_off_is_an_error() {
    run(async {
        let identity = Identity::new();
        let (client, server) = pair().await;
        // The client reads nothing, and what has come and was not read when it closes would make a reset of its end.
        let mut config = (*identity.server).clone();
        config.send_tls13_tickets = 0;
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let server = ringtoss::spawn(async move {
            let mut tls = acceptor.accept(server).await.unwrap();
            tls.read_to_end(&mut Vec::new()).await.unwrap_err().kind()
        });
        let connector = tokio_rustls::TlsConnector::from(identity.client.clone());
        let mut tls = connector.connect(localhost(), client).await.unwrap();
        tls.write_all(b"and then").await.unwrap();
        drop(tls.into_inner().0);
        assert_eq!(server.await.unwrap(), std::io::ErrorKind::UnexpectedEof);
    });
}

const GOT_CLOSE_NOTIFY: &str = "SSL3 alert read:warning:close notify";

/// OpenSSL's client says two lines; our server, of each family in turn, says them back and ends.
#[test]
fn openssl_as_client() {
    if program("openssl").is_none() {
        return;
    }
    run(async {
        let identity = Identity::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tokio_acceptor = tokio_rustls::TlsAcceptor::from(identity.server.clone());
        let futures_acceptor = futures_rustls::TlsAcceptor::from(identity.server.clone());
        let server = ringtoss::spawn(async move {
            for _ in 0..2 {
                let mut buf = [0; 8];
                let mut tls = tokio_acceptor.accept(PollIo::new(listener.accept().await.unwrap().0)).await.unwrap();
                tls.read_exact(&mut buf).await.unwrap();
                tls.write_all(&buf).await.unwrap();
                tls.shutdown().await.unwrap();
                assert_eq!(tls.read(&mut buf).await.expect("with close_notify"), 0);
                let mut tls = futures_acceptor.accept(PollIo::new(listener.accept().await.unwrap().0)).await.unwrap();
                tls.read_exact(&mut buf).await.unwrap();
                tls.write_all(&buf).await.unwrap();
                tls.close().await.unwrap();
                assert_eq!(tls.read(&mut buf).await.expect("with close_notify"), 0);
            }
        });
        for version in ["-tls1_3", "-tls1_3", "-tls1_2", "-tls1_2"] {
            let mut client = Command::new("sh");
            client.arg("-c").arg(format!(
                "printf 'one\\ntwo\\n' | openssl s_client -connect {address} -CAfile {} -verify_return_error \
                 -verify_hostname localhost -servername localhost -quiet -state {version}",
                identity.path("certificate")
            ));
            let output = output_of(client).await;
            assert_eq!(String::from_utf8_lossy(&output.stdout), "one\ntwo\n", "{version}");
            let log = String::from_utf8_lossy(&output.stderr);
            assert!(log.contains(GOT_CLOSE_NOTIFY), "{version}: {log}");
        }
        server.await.unwrap();
    });
}

fn count_in(file: &Path, what: &str) -> usize {
    std::fs::read_to_string(file).unwrap().matches(what).count()
}

/// OpenSSL's server says each line backwards; the first time it ends first, then we do.
#[test]
fn openssl_as_server() {
    if program("openssl").is_none() {
        return;
    }
    run(async {
        let identity = Identity::new();
        let address = free_address();
        let log = identity.folder.path().join("log");
        let mut command = Command::new("openssl");
        command.args(["s_server", "-rev", "-state", "-accept", &address.to_string()]);
        command.args(["-cert", &identity.path("certificate"), "-key", &identity.path("key")]);
        let file = std::fs::File::create(&log).unwrap();
        command.stdout(Stdio::null()).stderr(file);
        let _server = Server::start(&mut command);

        let connector = tokio_rustls::TlsConnector::from(identity.client.clone());
        let mut tls = connector.connect(localhost(), PollIo::new(connect(address).await)).await.unwrap();
        let mut buf = [0; 6];
        tls.write_all(b"olleh\n").await.unwrap();
        tls.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"hello\n");
        tls.write_all(b"CLOSE\n").await.unwrap();
        assert_eq!(tls.read(&mut buf).await.expect("with close_notify"), 0);
        drop(tls);

        let connector = futures_rustls::TlsConnector::from(identity.client.clone());
        let mut tls = connector.connect(localhost(), PollIo::new(connect(address).await)).await.unwrap();
        tls.write_all(b"niaga\n").await.unwrap();
        tls.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"again\n");
        let before = count_in(&log, GOT_CLOSE_NOTIFY);
        tls.close().await.unwrap();
        while count_in(&log, GOT_CLOSE_NOTIFY) == before {
            ringtoss::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
}

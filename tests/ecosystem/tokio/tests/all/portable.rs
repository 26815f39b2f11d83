//! One protocol, three runtimes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use ringtoss_ecosystem_tokio::{Store, ask, serve};

const IDLE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(30);

/// What a client says, and is to hear.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, name: &str) {
    let mut stream = BufReader::new(stream);
    assert_eq!(ask(&mut stream, &format!("get {name}")).await.unwrap(), "none");
    for step in 0..50 {
        assert_eq!(ask(&mut stream, &format!("set {name} step {step}")).await.unwrap(), "ok");
        assert_eq!(ask(&mut stream, &format!("get {name}")).await.unwrap(), format!("step {step}"));
    }
    assert_eq!(ask(&mut stream, "what").await.unwrap(), "error");
    // Several at once, and one in two pieces.
    stream.get_mut().write_all(b"get nobody\nget no").await.unwrap();
    assert_eq!(ask(&mut stream, "body").await.unwrap(), "none");
    stream.get_mut().write_all(b"quit\n").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "none\n");
}

const LINES: usize = 1 + 100 + 1 + 2;

#[test]
fn on_ringtoss() {
    use ringtoss::compat::PollIo;
    use ringtoss::net::{TcpListener, TcpStream};
    ringtoss_ecosystem::run(async {
        let store = Arc::new(Store::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for name in ["one", "other"] {
            let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
            let (stream, store) = (PollIo::new(server.unwrap().0), store.clone());
            let served = ringtoss::spawn(async move { serve(stream, &store, || ringtoss::time::sleep(IDLE)).await });
            talk(PollIo::new(client.unwrap()), name).await;
            assert_eq!(served.await.unwrap().unwrap(), LINES);
        }
        let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
        let idle = serve(PollIo::new(server.unwrap().0), &store, || ringtoss::time::sleep(SOON)).await;
        assert_eq!(idle.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(client);
    });
}

#[test]
fn on_tokio() {
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::compat::TokioAsyncReadCompatExt;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Store::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for name in ["one", "other"] {
            let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
            let (stream, store) = (server.unwrap().0.compat(), store.clone());
            // On any thread: it is `Send`.
            let served = tokio::spawn(async move { serve(stream, &store, || tokio::time::sleep(IDLE)).await });
            talk(client.unwrap().compat(), name).await;
            assert_eq!(served.await.unwrap().unwrap(), LINES);
        }
        let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
        let idle = serve(server.unwrap().0.compat(), &store, || tokio::time::sleep(SOON)).await;
        assert_eq!(idle.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(client);
    });
}

#[test]
fn on_smol() {
    use smol::Timer;
    use smol::net::{TcpListener, TcpStream};
    smol::block_on(async {
        let sleep = |duration| {
            move || async move {
                Timer::after(duration).await;
            }
        };
        let store = Arc::new(Store::default());
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        for name in ["one", "other"] {
            let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
            let (stream, store) = (server.unwrap().0, store.clone());
            let served = smol::spawn(async move { serve(stream, &store, sleep(IDLE)).await });
            talk(client.unwrap(), name).await;
            assert_eq!(served.await.unwrap(), LINES);
        }
        let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
        let idle = serve(server.unwrap().0, &store, sleep(SOON)).await;
        assert_eq!(idle.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(client);
    });
}

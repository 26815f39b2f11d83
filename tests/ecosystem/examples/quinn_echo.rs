//! quinn (QUIC) over ringtoss: a `Runtime` to copy, and an echo with it: `cargo run -p ringtoss-ecosystem --example quinn_echo`.
//!
//! quinn's convention is that sends and receives are its own system calls (`quinn-udp`: segments, joined datagrams,
//! congestion marks), and the runtime says when. So this is what quinn's module for tokio is.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncTimer, AsyncUdpSocket, ClientConfig, Endpoint, EndpointConfig, ServerConfig, UdpPoller};
use ringtoss::io::AsyncFd;
use ringtoss::net::UdpSocket;
use ringtoss::time::{self, Sleep};

/// ringtoss for quinn: tasks, time and sockets are those of the loop that runs on this thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Runtime;

impl quinn::Runtime for Runtime {
    fn new_timer(&self, deadline: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(time::sleep_until(deadline.into())))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        drop(ringtoss::spawn(future));
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let io = AsyncFd::new(UdpSocket::from_std(socket))?;
        Ok(Arc::new(Socket { io, state, times_full: AtomicU64::new(0) }))
    }

    fn now(&self) -> Instant {
        time::Instant::now().into_std()
    }
}

#[derive(Debug)]
struct Timer(Sleep);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        Pin::new(&mut self.0).reset(deadline.into());
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

#[derive(Debug)]
struct Socket {
    io: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// How often the kernel would take no more.
    times_full: AtomicU64,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        let seen = self.times_full.load(Ordering::Relaxed);
        Box::pin(Poller { socket: self, seen, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        let result = self.state.send((&self.io).into(), transmit);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.times_full.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn poll_recv(
        &self,
        cx: &mut Context,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let _ready = ready!(self.io.poll_read_ready(cx))?;
            match self.state.recv((&self.io).into(), bufs, meta) {
                // A datagram whose checksum was wrong, say.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// One task's way to wait until datagrams are taken again. quinn asks before each send, so the kernel is only asked
/// when it has refused one.
struct Poller {
    socket: Arc<Socket>,
    seen: u64,
    waiting: Option<Writable>,
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.waiting.is_none() {
            let times_full = this.socket.times_full.load(Ordering::Relaxed);
            if times_full == this.seen {
                return Poll::Ready(Ok(()));
            }
            this.seen = times_full;
        }
        let socket = &this.socket;
        let waiting = this.waiting.get_or_insert_with(|| {
            let socket = socket.clone();
            Box::pin(async move { socket.io.writable().await.map(drop) })
        });
        let result = ready!(waiting.as_mut().poll(cx));
        this.waiting = None;
        Poll::Ready(result)
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// An endpoint that connects, and one that accepts, too, if it has a configuration for that.
pub fn endpoint(address: SocketAddr, server: Option<ServerConfig>) -> io::Result<Endpoint> {
    let socket = std::net::UdpSocket::bind(address)?;
    Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(Runtime))
}

/// Sends back what comes, on every stream of every connection, until the endpoint is closed.
pub async fn echo(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        ringtoss::spawn(async move {
            let connection = incoming.await?;
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                ringtoss::spawn(async move {
                    while let Some(chunk) = receive.read_chunk(usize::MAX, true).await? {
                        send.write_chunk(chunk.bytes).await?;
                    }
                    send.finish()?;
                    Ok::<_, Box<dyn std::error::Error>>(())
                });
            }
            Ok::<_, quinn::ConnectionError>(())
        });
    }
}

/// Configurations of a server called "localhost" and of a client that trusts it.
pub fn configurations() -> Result<(ServerConfig, ClientConfig), Box<dyn std::error::Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()])?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let server = ServerConfig::with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok((server, ClientConfig::with_root_certificates(Arc::new(roots))?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ringtoss::block_on(async {
        let (server, client) = configurations()?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = endpoint(any, Some(server))?;
        let address = server.local_addr()?;
        ringtoss::spawn(echo(server.clone()));

        let endpoint = endpoint(any, None)?;
        let connection = endpoint.connect_with(client, address, "localhost")?.await?;
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(b"over QUIC").await?;
        send.finish()?;
        println!("{}", String::from_utf8_lossy(&receive.read_to_end(100).await?));
        connection.close(0u32.into(), b"");
        endpoint.wait_idle().await;
        server.close(0u32.into(), b"");
        Ok(())
    })
}

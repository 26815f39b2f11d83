//! monoio: at its defaults, and with the ring's flags for one thread.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::udp::UdpSocket;
use monoio::net::{ListenerOpts, TcpListener, TcpStream, UnixListener, UnixStream};
use monoio::{FusionDriver, IoUringDriver, RuntimeBuilder};

use crate::runtime::{BufResult, Files, Net, Runtime, Sends, Sink, Source, Udp, Unix};

/// With `TUNED`: io_uring only, the flags that its builder can be given, timers only where the work sleeps.
pub struct Monoio<const TUNED: bool>;

impl<const TUNED: bool> Runtime for Monoio<TUNED> {
    fn block_on<T: 'static>(timers: bool, future: impl Future<Output = T> + 'static) -> T {
        let failed = "a monoio runtime";
        if !TUNED {
            return RuntimeBuilder::<FusionDriver>::new().enable_timer().build().expect(failed).block_on(future);
        }
        let mut ring = io_uring_06::IoUring::builder();
        ring.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag().setup_defer_taskrun();
        let builder = RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring);
        if timers {
            builder.enable_timer().build().expect(failed).block_on(future)
        } else {
            builder.build().expect(failed).block_on(future)
        }
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        monoio::spawn(future)
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        monoio::spawn(future);
    }

    async fn yield_now() {
        super::yield_once().await;
    }

    async fn sleep(duration: Duration) {
        monoio::time::sleep(duration).await;
    }
}

impl<const TUNED: bool> Net for Monoio<TUNED> {
    type Listener = TcpListener;
    type Stream = Io<TcpStream>;
    type Reader = Io<OwnedReadHalf<TcpStream>>;
    type Writer = Io<OwnedWriteHalf<TcpStream>>;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = TcpListener::bind_with_config("127.0.0.1:0", &ListenerOpts::new().backlog(4096))?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(Io(stream))
    }

    async fn connect(port: u16) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Io(stream))
    }

    fn split(stream: Self::Stream) -> (Self::Reader, Self::Writer) {
        let (reader, writer) = stream.0.into_split();
        (Io(reader), Io(writer))
    }
}

impl<const TUNED: bool> Unix for Monoio<TUNED> {
    type UnixListener = UnixListener;
    type UnixStream = Io<UnixStream>;

    async fn listen_unix(path: &Path) -> io::Result<Self::UnixListener> {
        UnixListener::bind_with_config(path, &ListenerOpts::new().backlog(4096))
    }

    async fn accept_unix(listener: &Self::UnixListener) -> io::Result<Self::UnixStream> {
        Ok(Io(listener.accept().await?.0))
    }
}

impl<const TUNED: bool> Udp for Monoio<TUNED> {
    type Socket = UdpSocket;

    async fn bind() -> io::Result<(Self::Socket, u16)> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = socket.local_addr()?.port();
        Ok((socket, port))
    }

    async fn recv_from(socket: &Self::Socket, buf: Vec<u8>) -> BufResult<SocketAddr> {
        let (result, buf) = socket.recv_from(buf).await;
        (result.map(|(_, from)| from), buf)
    }

    async fn send_to(socket: &Self::Socket, buf: Vec<u8>, to: SocketAddr) -> BufResult<usize> {
        socket.send_to(buf, to).await
    }
}

/// What is read from and written to.
pub struct Io<T>(T);

impl<T: AsyncReadRent + 'static> Source for Io<T> {
    async fn read(&mut self, buf: Vec<u8>) -> BufResult<usize> {
        self.0.read(buf).await
    }
}

impl<T: AsyncWriteRent + 'static> Sink for Io<T> {
    async fn write_all(&mut self, buf: Vec<u8>) -> BufResult<()> {
        let (result, buf) = self.0.write_all(buf).await;
        (result.map(drop), buf)
    }
}

impl<const TUNED: bool> Files for Monoio<TUNED> {
    type File = monoio::fs::File;

    async fn open(path: &Path) -> io::Result<Self::File> {
        monoio::fs::File::open(path).await
    }

    async fn read_at(file: &Self::File, buf: Vec<u8>, offset: u64) -> BufResult<usize> {
        file.read_at(buf, offset).await
    }
}

impl<const TUNED: bool> Sends for Monoio<TUNED> {}

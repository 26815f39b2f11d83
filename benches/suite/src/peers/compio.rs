//! compio: at its defaults, and with the flags that its builder advises for one thread.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use compio::BufResult as CompioResult;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncReadAt, AsyncWrite, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use compio::runtime::RuntimeBuilder;

use crate::runtime::{BufResult, Files, Net, Runtime, Sends, Sink, Source, Udp, Unix};

/// With `TUNED`: single issuer, cooperative and deferred task work.
pub struct Compio<const TUNED: bool>;

impl<const TUNED: bool> Runtime for Compio<TUNED> {
    fn block_on<T: 'static>(_timers: bool, future: impl Future<Output = T> + 'static) -> T {
        let mut builder = RuntimeBuilder::new();
        if TUNED {
            let mut proactor = ProactorBuilder::new();
            proactor.single_issuer(true).coop_taskrun(true).taskrun_flag(true).defer_taskrun(true);
            builder.with_proactor(proactor);
        }
        builder.build().expect("a compio runtime").block_on(future)
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        let task = compio::runtime::spawn(future);
        async { task.await.unwrap_or_else(|_| panic!("a task of the work")) }
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        compio::runtime::spawn(future).detach();
    }

    async fn yield_now() {
        super::yield_once().await;
    }

    async fn sleep(duration: Duration) {
        compio::time::sleep(duration).await;
    }
}

impl<const TUNED: bool> Net for Compio<TUNED> {
    type Listener = TcpListener;
    type Stream = Io<TcpStream>;
    type Reader = Io<TcpStream>;
    type Writer = Io<TcpStream>;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = TcpListener::from_std(super::listener()?)?;
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

impl<const TUNED: bool> Unix for Compio<TUNED> {
    type UnixListener = UnixListener;
    type UnixStream = Io<UnixStream>;

    async fn listen_unix(path: &Path) -> io::Result<Self::UnixListener> {
        UnixListener::bind(path).await
    }

    async fn accept_unix(listener: &Self::UnixListener) -> io::Result<Self::UnixStream> {
        Ok(Io(listener.accept().await?.0))
    }
}

impl<const TUNED: bool> Udp for Compio<TUNED> {
    type Socket = UdpSocket;

    async fn bind() -> io::Result<(Self::Socket, u16)> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = socket.local_addr()?.port();
        Ok((socket, port))
    }

    async fn recv_from(socket: &Self::Socket, mut buf: Vec<u8>) -> BufResult<SocketAddr> {
        buf.clear();
        let CompioResult(result, buf) = socket.recv_from(buf).await;
        (result.map(|(_, from)| from), buf)
    }

    async fn send_to(socket: &Self::Socket, buf: Vec<u8>, to: SocketAddr) -> BufResult<usize> {
        let CompioResult(result, buf) = socket.send_to(buf, to).await;
        (result, buf)
    }
}

/// What is read from and written to.
pub struct Io<T>(T);

impl<T: AsyncRead + 'static> Source for Io<T> {
    async fn read(&mut self, mut buf: Vec<u8>) -> BufResult<usize> {
        buf.clear();
        let CompioResult(result, buf) = self.0.read(buf).await;
        (result, buf)
    }
}

impl<T: AsyncWrite + 'static> Sink for Io<T> {
    async fn write_all(&mut self, buf: Vec<u8>) -> BufResult<()> {
        let CompioResult(result, buf) = self.0.write_all(buf).await;
        (result, buf)
    }
}

impl<const TUNED: bool> Files for Compio<TUNED> {
    type File = compio::fs::File;

    async fn open(path: &Path) -> io::Result<Self::File> {
        compio::fs::File::open(path).await
    }

    async fn read_at(file: &Self::File, mut buf: Vec<u8>, offset: u64) -> BufResult<usize> {
        buf.clear();
        let CompioResult(result, buf) = file.read_at(buf, offset).await;
        (result, buf)
    }
}

impl<const TUNED: bool> Sends for Compio<TUNED> {}

//! smol: an executor on this thread, over async-io's epoll. Its files are read by its blocking pool, as it documents.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use smol::LocalExecutor;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smol::net::unix::{UnixListener, UnixStream};
use smol::net::{TcpListener, TcpStream, UdpSocket};

use crate::buffers::Block;
use crate::runtime::{BufResult, Files, How, Net, Runtime, Sends, Sink, Source, Transfer, Udp, Unix, whole};

pub struct Smol;

thread_local! {
    static EXECUTOR: &'static LocalExecutor<'static> = Box::leak(Box::new(LocalExecutor::new()));
}

impl Runtime for Smol {
    fn block_on<T: 'static>(_timers: bool, future: impl Future<Output = T> + 'static) -> T {
        smol::block_on(EXECUTOR.with(|executor| executor.run(future)))
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        EXECUTOR.with(|executor| executor.spawn(future))
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        EXECUTOR.with(|executor| executor.spawn(future)).detach();
    }

    async fn yield_now() {
        smol::future::yield_now().await;
    }

    async fn sleep(duration: Duration) {
        smol::Timer::after(duration).await;
    }
}

impl Net for Smol {
    type Listener = TcpListener;
    type Stream = Io<TcpStream>;
    type Reader = Io<TcpStream>;
    type Writer = Io<TcpStream>;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
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
        (Io(stream.0.clone()), stream)
    }
}

impl Unix for Smol {
    type UnixListener = UnixListener;
    type UnixStream = Io<UnixStream>;

    async fn listen_unix(path: &Path) -> io::Result<Self::UnixListener> {
        UnixListener::bind(path)
    }

    async fn accept_unix(listener: &Self::UnixListener) -> io::Result<Self::UnixStream> {
        Ok(Io(listener.accept().await?.0))
    }
}

impl Udp for Smol {
    type Socket = UdpSocket;

    async fn bind() -> io::Result<(Self::Socket, u16)> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = socket.local_addr()?.port();
        Ok((socket, port))
    }

    async fn recv_from(socket: &Self::Socket, mut buf: Vec<u8>) -> BufResult<SocketAddr> {
        let result = socket.recv_from(whole(&mut buf)).await;
        buf.truncate(result.as_ref().map_or(0, |(read, _)| *read));
        (result.map(|(_, from)| from), buf)
    }

    async fn send_to(socket: &Self::Socket, buf: Vec<u8>, to: SocketAddr) -> BufResult<usize> {
        (socket.send_to(&buf, to).await, buf)
    }
}

/// What is read from and written to.
pub struct Io<T>(T);

impl<T: AsyncRead + Unpin + 'static> Source for Io<T> {
    async fn read(&mut self, mut buf: Vec<u8>) -> BufResult<usize> {
        let result = self.0.read(whole(&mut buf)).await;
        buf.truncate(*result.as_ref().unwrap_or(&0));
        (result, buf)
    }
}

impl<T: AsyncWrite + Unpin + 'static> Sink for Io<T> {
    async fn write_all(&mut self, buf: Vec<u8>) -> BufResult<()> {
        (self.0.write_all(&buf).await, buf)
    }
}

impl Files for Smol {
    type File = Arc<std::fs::File>;
    type Buf = Block;

    fn buffers(bytes: usize, count: usize) -> Vec<Block> {
        (0..count).map(|_| Block::new(bytes)).collect()
    }

    async fn open(path: &Path, how: How) -> io::Result<Self::File> {
        let path = path.to_owned();
        Ok(Arc::new(smol::unblock(move || how.open(&path)).await?))
    }

    async fn read_at(file: &Self::File, buf: Block, offset: u64) -> Transfer<Self> {
        let file = file.clone();
        smol::unblock(move || super::pread(&file, buf, offset)).await
    }

    async fn write_at(file: &Self::File, buf: Block, offset: u64) -> Transfer<Self> {
        let file = file.clone();
        smol::unblock(move || super::pwrite(&file, buf, offset)).await
    }

    async fn sync(file: &Self::File) -> io::Result<()> {
        let file = file.clone();
        smol::unblock(move || file.sync_data()).await
    }

    /// Closed where they are dropped.
    async fn close(_file: Self::File) -> io::Result<()> {
        Ok(())
    }

    async fn unlink(path: &Path) -> io::Result<()> {
        smol::fs::remove_file(path).await
    }

    async fn stat(path: &Path) -> io::Result<u64> {
        Ok(smol::fs::metadata(path).await?.len())
    }

    async fn write_file(path: &Path, buf: Block) -> Transfer<Self> {
        let path = path.to_owned();
        smol::unblock(move || super::write_file(&path, buf)).await
    }

    async fn read_file(path: &Path, buf: Block) -> Transfer<Self> {
        let path = path.to_owned();
        smol::unblock(move || super::read_file(&path, buf)).await
    }

    async fn copy(from: &Path, to: &Path) -> io::Result<u64> {
        smol::fs::copy(from, to).await
    }
}

impl Sends for Smol {
    async fn read_start(file: &Self::File, buf: Vec<u8>) -> BufResult<usize> {
        let file = file.clone();
        smol::unblock(move || super::read_start(&file, buf)).await
    }
}

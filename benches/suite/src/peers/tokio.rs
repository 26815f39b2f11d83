//! tokio, on one thread and with its work-stealing threads. Its files are read by its blocking pool, as it documents.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket, UnixListener, UnixStream};

use crate::buffers::Block;
use crate::runtime::{
    AssertSend, BufResult, Files, How, Joined, Net, Runtime, Sends, Sink, Source, Transfer, Udp, Unix,
};

/// With `MULTI`, as many workers as the process has CPUs, which is what `#[tokio::main]` gives.
pub struct Tokio<const MULTI: bool>;

/// The work holds vectors, atomics in `Arc`s and this runtime's own types across awaits, all of which are `Send`; only the
/// compiler cannot see it through the trait.
fn send<F: Future>(future: F) -> AssertSend<F> {
    // SAFETY: see above.
    unsafe { AssertSend::new(future) }
}

impl<const MULTI: bool> Runtime for Tokio<MULTI> {
    fn block_on<T: 'static>(_timers: bool, future: impl Future<Output = T> + 'static) -> T {
        if MULTI {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a tokio runtime");
            // On a worker: the thread that blocks is no part of the pool.
            runtime.block_on(async { tokio::spawn(send(future)).await.expect("the work").into_inner() })
        } else {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
            runtime.block_on(future)
        }
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        Joined(tokio::spawn(send(future)), AssertSend::into_inner)
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        tokio::spawn(send(future));
    }

    async fn yield_now() {
        tokio::task::yield_now().await;
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl<const MULTI: bool> Net for Tokio<MULTI> {
    type Listener = TcpListener;
    type Stream = Io<TcpStream>;
    type Reader = Io<OwnedReadHalf>;
    type Writer = Io<OwnedWriteHalf>;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(4096)?;
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

impl<const MULTI: bool> Unix for Tokio<MULTI> {
    type UnixListener = UnixListener;
    type UnixStream = Io<UnixStream>;

    async fn listen_unix(path: &Path) -> io::Result<Self::UnixListener> {
        UnixListener::bind(path)
    }

    async fn accept_unix(listener: &Self::UnixListener) -> io::Result<Self::UnixStream> {
        Ok(Io(listener.accept().await?.0))
    }
}

impl<const MULTI: bool> Udp for Tokio<MULTI> {
    type Socket = UdpSocket;

    async fn bind() -> io::Result<(Self::Socket, u16)> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = socket.local_addr()?.port();
        Ok((socket, port))
    }

    async fn recv_from(socket: &Self::Socket, mut buf: Vec<u8>) -> BufResult<SocketAddr> {
        buf.clear();
        let result = socket.recv_buf_from(&mut buf).await;
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
        buf.clear();
        (self.0.read_buf(&mut buf).await, buf)
    }
}

impl<T: AsyncWrite + Unpin + 'static> Sink for Io<T> {
    async fn write_all(&mut self, buf: Vec<u8>) -> BufResult<()> {
        (self.0.write_all(&buf).await, buf)
    }
}

impl<const MULTI: bool> Files for Tokio<MULTI> {
    type File = Arc<std::fs::File>;
    type Buf = Block;

    fn buffers(bytes: usize, count: usize) -> Vec<Block> {
        (0..count).map(|_| Block::new(bytes)).collect()
    }

    async fn open(path: &Path, how: How) -> io::Result<Self::File> {
        let mut options = tokio::fs::OpenOptions::new();
        options.read(!how.write).write(how.write).create(how.create).custom_flags(how.flags());
        Ok(Arc::new(options.open(path).await?.into_std().await))
    }

    async fn read_at(file: &Self::File, buf: Block, offset: u64) -> Transfer<Self> {
        let file = file.clone();
        in_pool(move || super::pread(&file, buf, offset)).await
    }

    async fn write_at(file: &Self::File, buf: Block, offset: u64) -> Transfer<Self> {
        let file = file.clone();
        in_pool(move || super::pwrite(&file, buf, offset)).await
    }

    async fn sync(file: &Self::File) -> io::Result<()> {
        let file = file.clone();
        in_pool(move || file.sync_data()).await
    }

    /// As tokio's own files: closed where they are dropped.
    async fn close(_file: Self::File) -> io::Result<()> {
        Ok(())
    }

    async fn unlink(path: &Path) -> io::Result<()> {
        tokio::fs::remove_file(path).await
    }

    async fn stat(path: &Path) -> io::Result<u64> {
        Ok(tokio::fs::metadata(path).await?.len())
    }

    async fn write_file(path: &Path, buf: Block) -> Transfer<Self> {
        let path = path.to_owned();
        in_pool(move || super::write_file(&path, buf)).await
    }

    async fn read_file(path: &Path, buf: Block) -> Transfer<Self> {
        let path = path.to_owned();
        in_pool(move || super::read_file(&path, buf)).await
    }

    async fn copy(from: &Path, to: &Path) -> io::Result<u64> {
        tokio::fs::copy(from, to).await
    }
}

impl<const MULTI: bool> Sends for Tokio<MULTI> {
    async fn read_start(file: &Self::File, buf: Vec<u8>) -> BufResult<usize> {
        let file = file.clone();
        in_pool(move || super::read_start(&file, buf)).await
    }
}

async fn in_pool<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work")
}

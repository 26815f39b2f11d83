//! tokio-uring: at its defaults, and with the flags that its builder can be given. It sleeps in epoll, on the ring's
//! descriptor, which deferred task work would never wake.

use std::convert::identity;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use std::os::unix::fs::OpenOptionsExt;

use tokio_uring::buf::{IoBuf, IoBufMut};
use tokio_uring::fs::OpenOptions;
use tokio_uring::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};

use crate::buffers::Block;
use crate::runtime::{BufResult, Files, How, Joined, Net, Runtime, Sends, Sink, Source, Transfer, Udp, Unix};

/// With `TUNED`: single issuer, cooperative task work.
pub struct TokioUring<const TUNED: bool>;

impl<const TUNED: bool> Runtime for TokioUring<TUNED> {
    fn block_on<T: 'static>(_timers: bool, future: impl Future<Output = T> + 'static) -> T {
        let mut builder = tokio_uring::builder();
        if TUNED {
            let mut ring = tokio_uring::uring_builder();
            ring.setup_single_issuer().setup_coop_taskrun();
            builder.entries(1024).uring_builder(&ring);
        }
        builder.start(future)
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        Joined(tokio_uring::spawn(future), identity)
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        tokio_uring::spawn(future);
    }

    async fn yield_now() {
        tokio::task::yield_now().await;
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    const NOP: bool = true;

    async fn nop() {
        tokio_uring::no_op().await.expect("a NOP");
    }
}

impl<const TUNED: bool> Net for TokioUring<TUNED> {
    type Listener = TcpListener;
    type Stream = Rc<TcpStream>;
    type Reader = Rc<TcpStream>;
    type Writer = Rc<TcpStream>;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = TcpListener::from_std(super::listener()?);
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        crate::sys::no_delay(stream.as_raw_fd())?;
        Ok(Rc::new(stream))
    }

    async fn connect(port: u16) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port).into()).await?;
        stream.set_nodelay(true)?;
        Ok(Rc::new(stream))
    }

    fn split(stream: Self::Stream) -> (Self::Reader, Self::Writer) {
        (stream.clone(), stream)
    }
}

impl<const TUNED: bool> Unix for TokioUring<TUNED> {
    type UnixListener = UnixListener;
    type UnixStream = UnixStream;

    async fn listen_unix(path: &Path) -> io::Result<Self::UnixListener> {
        UnixListener::bind(path)
    }

    async fn accept_unix(listener: &Self::UnixListener) -> io::Result<Self::UnixStream> {
        listener.accept().await
    }
}

impl<const TUNED: bool> Udp for TokioUring<TUNED> {
    type Socket = UdpSocket;

    async fn bind() -> io::Result<(Self::Socket, u16)> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let port = socket.local_addr()?.port();
        Ok((socket, port))
    }

    async fn recv_from(socket: &Self::Socket, mut buf: Vec<u8>) -> BufResult<SocketAddr> {
        buf.clear();
        let (result, buf) = socket.recv_from(buf).await;
        (result.map(|(_, from)| from), buf)
    }

    async fn send_to(socket: &Self::Socket, buf: Vec<u8>, to: SocketAddr) -> BufResult<usize> {
        socket.send_to(buf, to).await
    }
}

// Reading and writing take the stream by reference, so its halves share it.
impl Source for Rc<TcpStream> {
    async fn read(&mut self, mut buf: Vec<u8>) -> BufResult<usize> {
        // Its reads make a buffer longer, never shorter.
        buf.clear();
        TcpStream::read(self, buf).await
    }
}

impl Sink for Rc<TcpStream> {
    async fn write_all(&mut self, buf: Vec<u8>) -> BufResult<()> {
        TcpStream::write_all(self, buf).await
    }
}

impl Source for UnixStream {
    async fn read(&mut self, mut buf: Vec<u8>) -> BufResult<usize> {
        buf.clear();
        UnixStream::read(self, buf).await
    }
}

impl Sink for UnixStream {
    async fn write_all(&mut self, buf: Vec<u8>) -> BufResult<()> {
        UnixStream::write_all(self, buf).await
    }
}

impl<const TUNED: bool> Files for TokioUring<TUNED> {
    type File = tokio_uring::fs::File;
    type Buf = Block;

    fn buffers(bytes: usize, count: usize) -> Vec<Block> {
        (0..count).map(|_| Block::new(bytes)).collect()
    }

    async fn open(path: &Path, how: How) -> io::Result<Self::File> {
        let mut options = OpenOptions::new();
        options.read(!how.write).write(how.write).create(how.create).custom_flags(how.flags()).open(path).await
    }

    async fn read_at(file: &Self::File, buf: Block, offset: u64) -> Transfer<Self> {
        file.read_at(buf, offset).await
    }

    async fn write_at(file: &Self::File, buf: Block, offset: u64) -> Transfer<Self> {
        file.write_at(buf, offset).submit().await
    }

    async fn sync(file: &Self::File) -> io::Result<()> {
        file.sync_data().await
    }

    async fn close(file: Self::File) -> io::Result<()> {
        file.close().await
    }

    async fn unlink(path: &Path) -> io::Result<()> {
        tokio_uring::fs::remove_file(path).await
    }

    async fn stat(path: &Path) -> io::Result<u64> {
        Ok(tokio_uring::fs::statx(path).await?.stx_size)
    }
}

// SAFETY: its pages are on the heap, so they stay put while it is moved; all of its bytes are initialised.
unsafe impl IoBuf for Block {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.len()
    }
    fn bytes_total(&self) -> usize {
        self.capacity()
    }
}

// SAFETY: it owns them all.
unsafe impl IoBufMut for Block {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    unsafe fn set_init(&mut self, len: usize) {
        self.set_len(len);
    }
}

impl<const TUNED: bool> Sends for TokioUring<TUNED> {
    async fn read_start(file: &Self::File, buf: Vec<u8>) -> BufResult<usize> {
        file.read_at(buf, 0).await
    }
}

//! monoio: at its defaults, and with the ring's flags for one thread.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use std::os::unix::fs::OpenOptionsExt;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::fs::OpenOptions;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::udp::UdpSocket;
use monoio::net::{ListenerOpts, TcpListener, TcpStream, UnixListener, UnixStream};
use monoio::{FusionDriver, IoUringDriver, RuntimeBuilder};

use crate::buffers::Block;
use crate::runtime::{BufResult, Files, How, Net, Runtime, Sends, Sink, Source, Transfer, Udp, Unix};

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

    /// It has none: a task that wakes itself is the next one there.
    const FAIR_YIELD: bool = false;

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
        // Its default sets SO_REUSEPORT, which newer kernels refuse for Unix sockets.
        UnixListener::bind_with_config(path, &ListenerOpts::new().backlog(4096).reuse_port(false))
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
        file.write_at(buf, offset).await
    }

    async fn sync(file: &Self::File) -> io::Result<()> {
        file.sync_data().await
    }

    async fn close(file: Self::File) -> io::Result<()> {
        file.close().await
    }

    async fn unlink(path: &Path) -> io::Result<()> {
        monoio::fs::remove_file(path).await
    }

    async fn stat(path: &Path) -> io::Result<u64> {
        Ok(monoio::fs::metadata(path).await?.len())
    }
}

// SAFETY: its pages are on the heap, so they stay put while it is moved; all of its bytes are initialised.
unsafe impl IoBuf for Block {
    fn read_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: it owns them all.
unsafe impl IoBufMut for Block {
    fn write_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn bytes_total(&mut self) -> usize {
        self.capacity()
    }
    unsafe fn set_init(&mut self, len: usize) {
        self.set_len(len);
    }
}

impl<const TUNED: bool> Sends for Monoio<TUNED> {
    async fn read_start(file: &Self::File, buf: Vec<u8>) -> BufResult<usize> {
        file.read_at(buf, 0).await
    }
}

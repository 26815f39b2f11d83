//! compio: at its defaults, and with the flags that its builder advises for one thread.

use std::convert::identity;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use std::mem::MaybeUninit;

use compio::BufResult as CompioResult;
use compio::buf::{IoBuf, IoBufMut, SetLen};
use compio::driver::ProactorBuilder;
use compio::fs::OpenOptions;
use compio::io::{AsyncRead, AsyncReadAt, AsyncWrite, AsyncWriteAt, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use compio::runtime::RuntimeBuilder;

use crate::buffers::Block;
use crate::runtime::{BufResult, Files, How, Joined, Net, Runtime, Sends, Sink, Source, Transfer, Udp, Unix};

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
        Joined(compio::runtime::spawn(future), identity)
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
    type Buf = Block;

    fn buffers(bytes: usize, count: usize) -> Vec<Block> {
        (0..count).map(|_| Block::new(bytes)).collect()
    }

    async fn open(path: &Path, how: How) -> io::Result<Self::File> {
        let mut options = OpenOptions::new();
        options.read(!how.write).write(how.write).create(how.create).custom_flags(how.flags()).open(path).await
    }

    async fn read_at(file: &Self::File, mut buf: Block, offset: u64) -> Transfer<Self> {
        Block::set_len(&mut buf, 0);
        let CompioResult(result, buf) = file.read_at(buf, offset).await;
        (result, buf)
    }

    async fn write_at(mut file: &Self::File, buf: Block, offset: u64) -> Transfer<Self> {
        let CompioResult(result, buf) = file.write_at(buf, offset).await;
        (result, buf)
    }

    async fn sync(file: &Self::File) -> io::Result<()> {
        file.sync_data().await
    }

    async fn close(file: Self::File) -> io::Result<()> {
        file.close().await
    }

    async fn unlink(path: &Path) -> io::Result<()> {
        compio::fs::remove_file(path).await
    }

    async fn stat(path: &Path) -> io::Result<u64> {
        Ok(compio::fs::metadata(path).await?.len())
    }
}

impl IoBuf for Block {
    fn as_init(&self) -> &[u8] {
        self.bytes()
    }
}

impl SetLen for Block {
    unsafe fn set_len(&mut self, len: usize) {
        Block::set_len(self, len);
    }
}

impl IoBufMut for Block {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        let (start, len) = (self.as_mut_ptr(), self.capacity());
        // SAFETY: it owns so many bytes there. (That nobody puts uninitialised ones there is the trait's contract.)
        unsafe { std::slice::from_raw_parts_mut(start.cast(), len) }
    }
}

impl<const TUNED: bool> Sends for Compio<TUNED> {
    async fn read_start(file: &Self::File, mut buf: Vec<u8>) -> BufResult<usize> {
        buf.clear();
        let CompioResult(result, buf) = file.read_at(buf, 0).await;
        (result, buf)
    }
}

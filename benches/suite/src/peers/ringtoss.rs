//! This crate.

use std::convert::identity;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use ringtoss::buf::{IoBuf, IoBufMut};
use ringtoss::fs::File;
use ringtoss::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use ringtoss::{Builder, EventLoop};

use crate::buffers::Block;
use crate::runtime::{BufResult, Files, How, Joined, Net, Runtime, Sends, Sink, Source, Transfer, Udp, Unix};

/// As it comes.
pub struct Ringtoss;

impl Runtime for Ringtoss {
    fn block_on<T: 'static>(_timers: bool, future: impl Future<Output = T> + 'static) -> T {
        ringtoss::block_on(future)
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        Joined(ringtoss::spawn(future), identity)
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        ringtoss::spawn(future);
    }

    async fn yield_now() {
        ringtoss::yield_now().await;
    }

    async fn sleep(duration: Duration) {
        ringtoss::time::sleep(duration).await;
    }

    const NOP: bool = true;

    async fn nop() {
        ringtoss::op::nop().await.expect("a NOP");
    }
}

/// A loop with another setting, and everything else as it comes.
pub struct With<S>(PhantomData<S>);

pub trait Setting: 'static {
    fn set(builder: Builder) -> Builder;
}

impl<S: Setting> Runtime for With<S> {
    fn block_on<T: 'static>(_timers: bool, future: impl Future<Output = T> + 'static) -> T {
        S::set(EventLoop::builder()).build().expect("a loop").block_on(future)
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        Ringtoss::spawn(future)
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        Ringtoss::detach(future);
    }

    async fn yield_now() {
        Ringtoss::yield_now().await;
    }

    async fn sleep(duration: Duration) {
        Ringtoss::sleep(duration).await;
    }
}

impl Net for Ringtoss {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        crate::sys::no_delay(stream.as_raw_fd())?;
        Ok(stream)
    }

    async fn connect(port: u16) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        crate::sys::no_delay(stream.as_raw_fd())?;
        Ok(stream)
    }

    fn split(stream: Self::Stream) -> (Self::Reader, Self::Writer) {
        stream.into_split()
    }
}

impl Unix for Ringtoss {
    type UnixListener = UnixListener;
    type UnixStream = UnixStream;

    async fn listen_unix(path: &Path) -> io::Result<Self::UnixListener> {
        UnixListener::bind(path).await
    }

    async fn accept_unix(listener: &Self::UnixListener) -> io::Result<Self::UnixStream> {
        Ok(listener.accept().await?.0)
    }
}

impl Udp for Ringtoss {
    type Socket = UdpSocket;

    async fn bind() -> io::Result<(Self::Socket, u16)> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
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

macro_rules! sources {
    ($($type:ty)*) => {$(
        impl Source for $type {
            async fn read(&mut self, buf: Vec<u8>) -> BufResult<usize> {
                <$type>::read(self, buf).await
            }
        }
    )*};
}

macro_rules! sinks {
    ($($type:ty)*) => {$(
        impl Sink for $type {
            async fn write_all(&mut self, buf: Vec<u8>) -> BufResult<()> {
                <$type>::write_all(self, buf).await
            }
        }
    )*};
}

sources! { TcpStream UnixStream OwnedReadHalf }
sinks! { TcpStream UnixStream OwnedWriteHalf }

impl Files for Ringtoss {
    type File = ringtoss::fs::File;
    type Buf = Block;

    fn buffers(bytes: usize, count: usize) -> Vec<Block> {
        (0..count).map(|_| Block::new(bytes)).collect()
    }

    async fn open(path: &Path, how: How) -> io::Result<Self::File> {
        let mut options = File::options();
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

    /// Whole, into room of its own.
    async fn read_file(path: &Path, mut buf: Block) -> Transfer<Self> {
        let result = ringtoss::fs::read(path).await.map(|bytes| bytes.len());
        buf.set_len(*result.as_ref().unwrap_or(&0));
        (result, buf)
    }

    async fn unlink(path: &Path) -> io::Result<()> {
        ringtoss::fs::remove_file(path).await
    }

    async fn stat(path: &Path) -> io::Result<u64> {
        Ok(ringtoss::fs::metadata(path).await?.len())
    }

    async fn copy(from: &Path, to: &Path) -> io::Result<u64> {
        ringtoss::fs::copy(from, to).await
    }
}

// SAFETY: its pages are on the heap, so they stay put while it is moved; all of its bytes are initialised.
unsafe impl IoBuf for Block {
    fn buf_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn buf_len(&self) -> usize {
        self.len()
    }
}

// SAFETY: it owns them all.
unsafe impl IoBufMut for Block {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn buf_capacity(&self) -> usize {
        self.capacity()
    }
    unsafe fn set_buf_len(&mut self, len: usize) {
        self.set_len(len);
    }
}

impl Sends for Ringtoss {
    async fn read_start(file: &Self::File, buf: Vec<u8>) -> BufResult<usize> {
        file.read_at(buf, 0).await
    }
}

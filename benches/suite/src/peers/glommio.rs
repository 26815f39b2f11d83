//! glommio, at its defaults. It has no flags to choose; its files come with buffers of their own.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use glommio::io::BufferedFile;
use glommio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use glommio::{LocalExecutorBuilder, Placement};

use crate::runtime::{BufResult, Files, Net, Runtime, Sends, Sink, Source, Udp, Unix, whole};

pub struct Glommio;

fn plain<T>(result: Result<T, glommio::GlommioError<()>>) -> io::Result<T> {
    result.map_err(io::Error::from)
}

impl Runtime for Glommio {
    fn block_on<T: 'static>(_timers: bool, future: impl Future<Output = T> + 'static) -> T {
        LocalExecutorBuilder::new(Placement::Unbound).make().expect("a glommio executor").run(future)
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        glommio::spawn_local(future)
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(future).detach();
    }

    async fn yield_now() {
        glommio::executor().yield_now().await;
    }

    async fn sleep(duration: Duration) {
        glommio::timer::sleep(duration).await;
    }
}

impl Net for Glommio {
    type Listener = TcpListener;
    type Stream = Io<TcpStream>;
    type Reader = Io<ReadHalf<TcpStream>>;
    type Writer = Io<WriteHalf<TcpStream>>;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = plain(TcpListener::bind("127.0.0.1:0"))?;
        let port = plain(listener.local_addr())?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        let stream = plain(listener.accept().await)?;
        plain(stream.set_nodelay(true))?;
        Ok(Io(stream))
    }

    async fn connect(port: u16) -> io::Result<Self::Stream> {
        let stream = plain(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await)?;
        plain(stream.set_nodelay(true))?;
        Ok(Io(stream))
    }

    fn split(stream: Self::Stream) -> (Self::Reader, Self::Writer) {
        let (reader, writer) = futures_lite::io::split(stream.0);
        (Io(reader), Io(writer))
    }
}

impl Unix for Glommio {
    type UnixListener = UnixListener;
    type UnixStream = Io<UnixStream>;

    async fn listen_unix(path: &Path) -> io::Result<Self::UnixListener> {
        plain(UnixListener::bind(path))
    }

    async fn accept_unix(listener: &Self::UnixListener) -> io::Result<Self::UnixStream> {
        Ok(Io(plain(listener.accept().await)?))
    }
}

impl Udp for Glommio {
    type Socket = UdpSocket;

    async fn bind() -> io::Result<(Self::Socket, u16)> {
        let socket = plain(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let port = plain(socket.local_addr())?.port();
        Ok((socket, port))
    }

    async fn recv_from(socket: &Self::Socket, mut buf: Vec<u8>) -> BufResult<SocketAddr> {
        let result = plain(socket.recv_from(whole(&mut buf)).await);
        buf.truncate(result.as_ref().map_or(0, |(read, _)| *read));
        (result.map(|(_, from)| from), buf)
    }

    async fn send_to(socket: &Self::Socket, buf: Vec<u8>, to: SocketAddr) -> BufResult<usize> {
        (plain(socket.send_to(&buf, to).await), buf)
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

impl Files for Glommio {
    type File = BufferedFile;

    async fn open(path: &Path) -> io::Result<Self::File> {
        plain(BufferedFile::open(path).await)
    }

    async fn read_at(file: &Self::File, buf: Vec<u8>, offset: u64) -> BufResult<usize> {
        let result = plain(file.read_at(offset, buf.capacity()).await);
        (result.map(|read| std::hint::black_box(&read).len()), buf)
    }
}

impl Sends for Glommio {
    /// Its reads come with buffers of their own.
    async fn send_file(stream: &mut Self::Stream, file: &Self::File, buf: Vec<u8>) -> BufResult<()> {
        match plain(file.read_at(0, buf.capacity()).await) {
            Ok(read) => (stream.0.write_all(&read).await, buf),
            Err(error) => (Err(error), buf),
        }
    }
}

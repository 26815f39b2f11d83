//! glommio, at its defaults. It has no flags to choose; its files come with buffers of their own.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use glommio::io::{BufferedFile, DmaFile, OpenOptions};
use glommio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use glommio::{LocalExecutorBuilder, Placement};

use crate::buffers::Block;
use crate::runtime::{BufResult, Files, How, Net, Runtime, Sends, Sink, Source, Transfer, Udp, Unix, whole};

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

/// With its buffers: a read gives one, a write takes one, so that only the blocks' numbers go to the work's own and back.
impl Files for Glommio {
    type File = GlommioFile;
    type Buf = Block;

    fn buffers(bytes: usize, count: usize) -> Vec<Block> {
        (0..count).map(|_| Block::new(bytes)).collect()
    }

    async fn open(path: &Path, how: How) -> io::Result<Self::File> {
        let mut options = OpenOptions::new();
        options.read(!how.write).write(how.write).create(how.create);
        Ok(match how.direct {
            true => GlommioFile::Direct(plain(options.dma_open(path).await)?),
            false => GlommioFile::Buffered(plain(options.buffered_open(path).await)?),
        })
    }

    async fn read_at(file: &Self::File, mut buf: Block, offset: u64) -> Transfer<Self> {
        let result = match file {
            GlommioFile::Buffered(file) => plain(file.read_at(offset, buf.capacity()).await),
            GlommioFile::Direct(file) => plain(file.read_at_aligned(offset, buf.capacity()).await),
        };
        match result {
            Ok(read) => {
                let stamp = read.len().min(8);
                buf.whole()[..stamp].copy_from_slice(&read[..stamp]);
                buf.set_len(read.len());
                (Ok(read.len()), buf)
            }
            Err(error) => (Err(error), buf),
        }
    }

    async fn write_at(file: &Self::File, buf: Block, offset: u64) -> Transfer<Self> {
        let result = match file {
            GlommioFile::Buffered(file) => {
                let mut own = vec![0; buf.len()];
                own[..8].copy_from_slice(&buf.bytes()[..8]);
                file.write_at(own, offset).await
            }
            GlommioFile::Direct(file) => {
                let mut own = file.alloc_dma_buffer(buf.len());
                own.as_bytes_mut()[..8].copy_from_slice(&buf.bytes()[..8]);
                file.write_at(own, offset).await
            }
        };
        (plain(result), buf)
    }

    async fn sync(file: &Self::File) -> io::Result<()> {
        plain(match file {
            GlommioFile::Buffered(file) => file.fdatasync().await,
            GlommioFile::Direct(file) => file.fdatasync().await,
        })
    }

    async fn close(file: Self::File) -> io::Result<()> {
        plain(match file {
            GlommioFile::Buffered(file) => file.close().await,
            GlommioFile::Direct(file) => file.close().await,
        })
    }

    async fn unlink(path: &Path) -> io::Result<()> {
        plain(glommio::io::remove(path).await)
    }

    /// It knows no `stat` by path: by its pool.
    async fn stat(path: &Path) -> io::Result<u64> {
        let path = path.to_owned();
        Ok(glommio::executor().spawn_blocking(move || std::fs::metadata(path)).await?.len())
    }

    async fn copy(from: &Path, to: &Path) -> io::Result<u64> {
        let source = plain(BufferedFile::open(from).await)?;
        let target = plain(BufferedFile::create(to).await)?;
        let mut copied = 0;
        loop {
            let read = plain(source.read_at(copied, crate::runtime::COPY_BYTES).await)?;
            if read.is_empty() {
                break;
            }
            copied += plain(target.write_at(read.to_vec(), copied).await)? as u64;
        }
        plain(source.close().await)?;
        plain(target.close().await)?;
        Ok(copied)
    }
}

pub enum GlommioFile {
    Buffered(BufferedFile),
    Direct(DmaFile),
}

impl Sends for Glommio {
    /// Its reads come with buffers of their own.
    async fn send_file(stream: &mut Self::Stream, file: &Self::File, buf: Vec<u8>) -> BufResult<()> {
        let GlommioFile::Buffered(file) = file else { unreachable!("no server opens them otherwise") };
        match plain(file.read_at(0, buf.capacity()).await) {
            Ok(read) => (stream.0.write_all(&read).await, buf),
            Err(error) => (Err(error), buf),
        }
    }

    async fn read_start(_file: &Self::File, _buf: Vec<u8>) -> BufResult<usize> {
        unreachable!("it is sent as it was read")
    }
}

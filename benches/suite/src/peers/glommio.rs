//! glommio, at its defaults. It has no flags to choose; its files come with buffers of their own.

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use glommio::io::BufferedFile;
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};

use crate::runtime::{BufResult, Files, Net, Runtime, whole};

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
    type Stream = TcpStream;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = plain(TcpListener::bind("127.0.0.1:0"))?;
        let port = plain(listener.local_addr())?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        let stream = plain(listener.accept().await)?;
        plain(stream.set_nodelay(true))?;
        Ok(stream)
    }

    async fn read(stream: &mut Self::Stream, mut buf: Vec<u8>) -> BufResult<usize> {
        let result = stream.read(whole(&mut buf)).await;
        buf.truncate(*result.as_ref().unwrap_or(&0));
        (result, buf)
    }

    async fn write_all(stream: &mut Self::Stream, buf: Vec<u8>) -> BufResult<()> {
        (stream.write_all(&buf).await, buf)
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

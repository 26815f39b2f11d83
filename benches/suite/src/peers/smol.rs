//! smol: an executor on this thread, over async-io's epoll. Its files are read by its blocking pool, as it documents.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use smol::LocalExecutor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

use crate::runtime::{BufResult, Files, Net, Runtime, whole};

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
    type Stream = TcpStream;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
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

impl Files for Smol {
    type File = Arc<std::fs::File>;

    async fn open(path: &Path) -> io::Result<Self::File> {
        let path = path.to_owned();
        Ok(Arc::new(smol::unblock(move || std::fs::File::open(path)).await?))
    }

    async fn read_at(file: &Self::File, buf: Vec<u8>, offset: u64) -> BufResult<usize> {
        let file = file.clone();
        smol::unblock(move || super::pread(&file, buf, offset)).await
    }
}

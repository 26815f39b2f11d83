//! tokio-uring: at its defaults, and with the flags that its builder can be given. It sleeps in epoll, on the ring's
//! descriptor, which deferred task work would never wake.

use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use tokio_uring::net::{TcpListener, TcpStream};

use crate::runtime::{BufResult, Files, Net, Runtime};

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
        let task = tokio_uring::spawn(future);
        async { task.await.expect("a task of the work") }
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
    type Stream = TcpStream;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = TcpListener::from_std(super::listener()?);
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        crate::sys::no_delay(stream.as_raw_fd())?;
        Ok(stream)
    }

    async fn read(stream: &mut Self::Stream, buf: Vec<u8>) -> BufResult<usize> {
        stream.read(buf).await
    }

    async fn write_all(stream: &mut Self::Stream, buf: Vec<u8>) -> BufResult<()> {
        stream.write_all(buf).await
    }
}

impl<const TUNED: bool> Files for TokioUring<TUNED> {
    type File = tokio_uring::fs::File;

    async fn open(path: &Path) -> io::Result<Self::File> {
        tokio_uring::fs::File::open(path).await
    }

    async fn read_at(file: &Self::File, buf: Vec<u8>, offset: u64) -> BufResult<usize> {
        file.read_at(buf, offset).await
    }
}

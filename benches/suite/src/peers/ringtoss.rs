//! This crate.

use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use crate::runtime::{BufResult, Files, Net, Runtime};

/// As it comes.
pub struct Ringtoss;

impl Runtime for Ringtoss {
    fn block_on<T: 'static>(_timers: bool, future: impl Future<Output = T> + 'static) -> T {
        ringtoss::block_on(future)
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        let task = ringtoss::spawn(future);
        async { task.await.expect("a task of the work") }
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

impl Net for Ringtoss {
    type Listener = ringtoss::net::TcpListener;
    type Stream = ringtoss::net::TcpStream;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = ringtoss::net::TcpListener::bind("127.0.0.1:0").await?;
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

impl Files for Ringtoss {
    type File = ringtoss::fs::File;

    async fn open(path: &Path) -> io::Result<Self::File> {
        ringtoss::fs::File::open(path).await
    }

    async fn read_at(file: &Self::File, buf: Vec<u8>, offset: u64) -> BufResult<usize> {
        file.read_at(buf, offset).await
    }
}

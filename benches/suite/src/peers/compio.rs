//! compio: at its defaults, and with the flags that its builder advises for one thread.

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use compio::BufResult as CompioResult;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncReadAt, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;

use crate::runtime::{BufResult, Files, Net, Runtime};

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
        let task = compio::runtime::spawn(future);
        async { task.await.unwrap_or_else(|_| panic!("a task of the work")) }
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
    type Stream = TcpStream;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = TcpListener::from_std(super::listener()?)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn read(stream: &mut Self::Stream, mut buf: Vec<u8>) -> BufResult<usize> {
        buf.clear();
        let CompioResult(result, buf) = stream.read(buf).await;
        (result, buf)
    }

    async fn write_all(stream: &mut Self::Stream, buf: Vec<u8>) -> BufResult<()> {
        let CompioResult(result, buf) = stream.write_all(buf).await;
        (result, buf)
    }
}

impl<const TUNED: bool> Files for Compio<TUNED> {
    type File = compio::fs::File;

    async fn open(path: &Path) -> io::Result<Self::File> {
        compio::fs::File::open(path).await
    }

    async fn read_at(file: &Self::File, mut buf: Vec<u8>, offset: u64) -> BufResult<usize> {
        buf.clear();
        let CompioResult(result, buf) = file.read_at(buf, offset).await;
        (result, buf)
    }
}

//! monoio: at its defaults, and with the ring's flags for one thread.

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::{FusionDriver, IoUringDriver, RuntimeBuilder};

use crate::runtime::{BufResult, Files, Net, Runtime};

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

    async fn yield_now() {
        super::yield_once().await;
    }

    async fn sleep(duration: Duration) {
        monoio::time::sleep(duration).await;
    }
}

impl<const TUNED: bool> Net for Monoio<TUNED> {
    type Listener = TcpListener;
    type Stream = TcpStream;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = TcpListener::bind_with_config("127.0.0.1:0", &ListenerOpts::new().backlog(4096))?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn read(stream: &mut Self::Stream, buf: Vec<u8>) -> BufResult<usize> {
        stream.read(buf).await
    }

    async fn write_all(stream: &mut Self::Stream, buf: Vec<u8>) -> BufResult<()> {
        let (result, buf) = stream.write_all(buf).await;
        (result.map(drop), buf)
    }
}

impl<const TUNED: bool> Files for Monoio<TUNED> {
    type File = monoio::fs::File;

    async fn open(path: &Path) -> io::Result<Self::File> {
        monoio::fs::File::open(path).await
    }

    async fn read_at(file: &Self::File, buf: Vec<u8>, offset: u64) -> BufResult<usize> {
        file.read_at(buf, offset).await
    }
}

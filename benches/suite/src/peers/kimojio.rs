//! kimojio, built for one thread (`setup_single_issuer`).

use std::convert::identity;
use std::ffi::CString;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use kimojio::configuration::{Configuration, ExitBehavior};
use kimojio::operations;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketType};

use crate::buffers::Block;
use crate::runtime::{BufResult, Files, How, Joined, Net, Runtime, Sends, Sink, Source, Transfer, Udp, Unix, whole};

pub struct Kimojio;

fn plain<T>(result: Result<T, kimojio::Errno>) -> io::Result<T> {
    result.map_err(|errno| io::Error::from_raw_os_error(errno.raw_os_error()))
}

impl Runtime for Kimojio {
    fn block_on<T: 'static>(_timers: bool, future: impl Future<Output = T> + 'static) -> T {
        let configuration = Configuration::new().set_exit_behavior(ExitBehavior::WhenMainTaskCompletes);
        match kimojio::Runtime::new(0, configuration).block_on(future) {
            Some(Ok(output)) => output,
            _ => panic!("the work did not end"),
        }
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        Joined(operations::spawn_task(future), identity)
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        operations::spawn_task(future);
    }

    async fn yield_now() {
        operations::yield_io().await;
    }

    async fn sleep(duration: Duration) {
        let _ = operations::sleep(duration).await;
    }

    const NOP: bool = true;

    async fn nop() {
        operations::nop().await.expect("a NOP");
    }
}

impl Net for Kimojio {
    type Listener = OwnedFd;
    type Stream = Rc<OwnedFd>;
    type Reader = Rc<OwnedFd>;
    type Writer = Rc<OwnedFd>;

    async fn listen() -> io::Result<(Self::Listener, u16)> {
        let listener = super::listener()?;
        let port = listener.local_addr()?.port();
        Ok((listener.into(), port))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        let stream = plain(operations::accept(listener).await)?;
        crate::sys::no_delay(stream.as_raw_fd())?;
        Ok(Rc::new(stream))
    }

    async fn connect(port: u16) -> io::Result<Self::Stream> {
        let stream = plain(operations::socket(AddressFamily::INET, SocketType::STREAM, None).await)?;
        plain(operations::connect(&stream, &(Ipv4Addr::LOCALHOST, port).into()).await)?;
        crate::sys::no_delay(stream.as_raw_fd())?;
        Ok(Rc::new(stream))
    }

    fn split(stream: Self::Stream) -> (Self::Reader, Self::Writer) {
        (stream.clone(), stream)
    }
}

impl Unix for Kimojio {
    type UnixListener = OwnedFd;
    type UnixStream = Rc<OwnedFd>;

    async fn listen_unix(path: &Path) -> io::Result<Self::UnixListener> {
        Ok(std::os::unix::net::UnixListener::bind(path)?.into())
    }

    async fn accept_unix(listener: &Self::UnixListener) -> io::Result<Self::UnixStream> {
        Ok(Rc::new(plain(operations::accept(listener).await)?))
    }
}

/// It has no receive that says where a datagram came from.
impl Udp for Kimojio {
    const UDP: bool = false;
    type Socket = ();

    async fn bind() -> io::Result<(Self::Socket, u16)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn recv_from(_: &Self::Socket, buf: Vec<u8>) -> BufResult<SocketAddr> {
        (Err(io::ErrorKind::Unsupported.into()), buf)
    }

    async fn send_to(_: &Self::Socket, buf: Vec<u8>, _: SocketAddr) -> BufResult<usize> {
        (Err(io::ErrorKind::Unsupported.into()), buf)
    }
}

impl Source for Rc<OwnedFd> {
    async fn read(&mut self, mut buf: Vec<u8>) -> BufResult<usize> {
        let result = plain(operations::read(&**self, whole(&mut buf)).await);
        buf.truncate(*result.as_ref().unwrap_or(&0));
        (result, buf)
    }
}

impl Sink for Rc<OwnedFd> {
    async fn write_all(&mut self, buf: Vec<u8>) -> BufResult<()> {
        let mut done = 0;
        while done < buf.len() {
            match plain(operations::write(&**self, &buf[done..]).await) {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(written) => done += written,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }
}

impl Files for Kimojio {
    type File = OwnedFd;
    type Buf = Block;

    fn buffers(bytes: usize, count: usize) -> Vec<Block> {
        (0..count).map(|_| Block::new(bytes)).collect()
    }

    async fn open(path: &Path, how: How) -> io::Result<Self::File> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut flags = if how.write { OFlags::WRONLY } else { OFlags::RDONLY } | OFlags::CLOEXEC;
        flags.set(OFlags::CREATE, how.create);
        flags.set(OFlags::DIRECT, how.direct);
        plain(operations::open(&path, flags, Mode::from_raw_mode(0o666)).await)
    }

    async fn read_at(file: &Self::File, mut buf: Block, offset: u64) -> Transfer<Self> {
        let result = plain(operations::pread(file, buf.whole(), offset).await);
        buf.set_len(*result.as_ref().unwrap_or(&0));
        (result, buf)
    }

    async fn write_at(file: &Self::File, buf: Block, offset: u64) -> Transfer<Self> {
        (plain(operations::pwrite(file, buf.bytes(), offset).await), buf)
    }

    /// It has no `fdatasync`.
    async fn sync(file: &Self::File) -> io::Result<()> {
        plain(operations::fsync(file).await)
    }

    async fn close(file: Self::File) -> io::Result<()> {
        plain(operations::close(file).await)
    }

    async fn unlink(path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        plain(operations::unlink(&path).await)
    }

    async fn stat(path: &Path) -> io::Result<u64> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        Ok(plain(operations::stat(&path).await)?.stx_size)
    }
}

impl Sends for Kimojio {
    async fn read_start(file: &Self::File, mut buf: Vec<u8>) -> BufResult<usize> {
        let result = plain(operations::pread(file, whole(&mut buf), 0).await);
        buf.truncate(*result.as_ref().unwrap_or(&0));
        (result, buf)
    }
}

//! What a runtime has to offer to be measured. The work itself, in `work`, is the same code for all.
//!
//! Adding a runtime is one file in `peers`: the traits here, and a line in the list there.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::buffers::Buffer;

/// A buffer and what became of the operation on it.
pub type BufResult<T> = (io::Result<T>, Vec<u8>);

/// A runtime, or one way to set it up.
///
/// Buffers of its operations are made by [`buffer`], so all of their capacity has been initialised; a read may use the whole
/// capacity, from the start, and leaves in `len()` how much it read. Runtimes that take slices lend them, others pass the
/// vector on.
pub trait Runtime: Sized + 'static {
    /// Runs the future to its end on a new loop on this thread. `timers` says whether the work sleeps, for runtimes that
    /// are cheaper without.
    fn block_on<T: 'static>(timers: bool, future: impl Future<Output = T> + 'static) -> T;
    /// A task that somebody waits for.
    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static;
    /// A task that nobody waits for.
    fn detach(future: impl Future<Output = ()> + 'static);
    /// Whether a task that yields lets all others run before it runs again.
    const FAIR_YIELD: bool = true;
    /// Lets the others run.
    fn yield_now() -> impl Future<Output = ()>;
    /// Sleeps.
    fn sleep(duration: Duration) -> impl Future<Output = ()>;

    /// Whether it can submit a NOP.
    const NOP: bool = false;
    /// Submits a NOP and waits for it.
    fn nop() -> impl Future<Output = ()> {
        async { unreachable!("said to have none") }
    }
}

/// Waits for a task whose handle gives a result: an error, which is a panic of the task's, fails the row. No `async` block, which would be
/// moved about with room for two handles, and cost more than some handles do.
pub struct Joined<H, M>(pub H, pub M);

impl<T, U, E, H: Future<Output = Result<T, E>> + Unpin, M: Fn(T) -> U + Unpin> Future for Joined<H, M> {
    type Output = U;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<U> {
        let output = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(self.1(output.unwrap_or_else(|_| panic!("a task of the work has failed"))))
    }
}

/// Where bytes come from.
pub trait Source: 'static {
    /// Reads what is there.
    fn read(&mut self, buf: Vec<u8>) -> impl Future<Output = BufResult<usize>>;
}

/// Where bytes go to.
pub trait Sink: 'static {
    /// Writes `buf.len()` bytes.
    fn write_all(&mut self, buf: Vec<u8>) -> impl Future<Output = BufResult<()>>;
}

/// TCP, at 127.0.0.1.
pub trait Net: Runtime {
    /// Something that accepts connections.
    type Listener: 'static;
    /// A connection.
    type Stream: Source + Sink;
    /// Half of a connection, for a task of its own.
    type Reader: Source;
    /// The other half.
    type Writer: Sink;

    /// Listens on a free port, with a backlog for as many connections as the work makes at once.
    fn listen() -> impl Future<Output = io::Result<(Self::Listener, u16)>>;
    /// Takes the next connection and sets `TCP_NODELAY`.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<Self::Stream>>;
    /// Connects and sets `TCP_NODELAY`.
    fn connect(port: u16) -> impl Future<Output = io::Result<Self::Stream>>;
    /// In two, as the runtime's documentation advises for two tasks.
    fn split(stream: Self::Stream) -> (Self::Reader, Self::Writer);
}

/// Unix sockets.
pub trait Unix: Runtime {
    /// Something that accepts connections.
    type UnixListener: 'static;
    /// A connection.
    type UnixStream: Source + Sink;

    /// Listens at a path where nothing is yet.
    fn listen_unix(path: &Path) -> impl Future<Output = io::Result<Self::UnixListener>>;
    /// Takes the next connection.
    fn accept_unix(listener: &Self::UnixListener) -> impl Future<Output = io::Result<Self::UnixStream>>;
}

/// UDP, at 127.0.0.1.
pub trait Udp: Runtime {
    /// Whether it has UDP sockets.
    const UDP: bool = true;
    /// A socket that is not connected.
    type Socket: 'static;

    /// Binds to a free port.
    fn bind() -> impl Future<Output = io::Result<(Self::Socket, u16)>>;
    /// Receives a datagram, which is then in the buffer, and says where it came from.
    fn recv_from(socket: &Self::Socket, buf: Vec<u8>) -> impl Future<Output = BufResult<SocketAddr>>;
    /// Sends a datagram.
    fn send_to(socket: &Self::Socket, buf: Vec<u8>, to: SocketAddr) -> impl Future<Output = BufResult<usize>>;
}

/// What work on files needs.
pub trait Files: Runtime {
    /// A file.
    type File: 'static;
    /// What is read into and written from.
    type Buf: Buffer;

    /// So many buffers of so many bytes, full ones.
    fn buffers(bytes: usize, count: usize) -> Vec<Self::Buf>;
    /// Opens a file.
    fn open(path: &Path, how: How) -> impl Future<Output = io::Result<Self::File>>;
    /// Reads at an offset, as the runtime's documentation advises; several at a time on one file.
    fn read_at(file: &Self::File, buf: Self::Buf, offset: u64) -> impl Future<Output = Transfer<Self>>;
    /// Writes a buffer at an offset; as above.
    fn write_at(file: &Self::File, buf: Self::Buf, offset: u64) -> impl Future<Output = Transfer<Self>>;
    /// Makes durable what was written, without more metadata than that takes (`fdatasync`), if there is a choice.
    fn sync(file: &Self::File) -> impl Future<Output = io::Result<()>>;
    /// Closes a file, and waits for that.
    fn close(file: Self::File) -> impl Future<Output = io::Result<()>>;
    /// Takes a name away.
    fn unlink(path: &Path) -> impl Future<Output = io::Result<()>>;
    /// The length of a file, by its path.
    fn stat(path: &Path) -> impl Future<Output = io::Result<u64>>;

    /// Makes a file that is not there, with what is in the buffer. A runtime with a pool does it in one go there, and who has something
    /// better for whole files uses that.
    fn write_file(path: &Path, buf: Self::Buf) -> impl Future<Output = Transfer<Self>> {
        async {
            let file = match Self::open(path, How { write: true, create: true, direct: false }).await {
                Ok(file) => file,
                Err(error) => return (Err(error), buf),
            };
            let (result, buf) = Self::write_at(&file, buf, 0).await;
            (Self::close(file).await.and(result), buf)
        }
    }

    /// Reads a file that fits into the buffer; as above.
    fn read_file(path: &Path, buf: Self::Buf) -> impl Future<Output = Transfer<Self>> {
        async {
            let file = match Self::open(path, How::default()).await {
                Ok(file) => file,
                Err(error) => return (Err(error), buf),
            };
            let (result, buf) = Self::read_at(&file, buf, 0).await;
            (Self::close(file).await.and(result), buf)
        }
    }

    /// Copies a file to a path where there is none; by the runtime's own copy, if it has one.
    fn copy(from: &Path, to: &Path) -> impl Future<Output = io::Result<u64>> {
        async {
            let source = Self::open(from, How::default()).await?;
            let target = Self::open(to, How { write: true, create: true, direct: false }).await?;
            let (mut buf, mut copied) = (Self::buffers(COPY_BYTES, 1).pop().expect("one"), 0);
            loop {
                let (read, full) = Self::read_at(&source, buf, copied).await;
                if read? == 0 {
                    break;
                }
                let (written, emptied) = Self::write_at(&target, full, copied).await;
                copied += written? as u64;
                buf = emptied;
            }
            Self::close(source).await?;
            Self::close(target).await?;
            Ok(copied)
        }
    }
}

/// How much is copied at once by runtimes that have no copy of their own.
pub const COPY_BYTES: usize = 256 << 10;

/// What became of a read or a write, and its buffer.
pub type Transfer<R> = (io::Result<usize>, <R as Files>::Buf);

/// How a file is opened: to read, or else to write.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    pub write: bool,
    pub create: bool,
    /// `O_DIRECT`.
    pub direct: bool,
}

impl How {
    /// Beside those for reading, writing and creating.
    pub fn flags(self) -> i32 {
        if self.direct { libc::O_DIRECT } else { 0 }
    }

    /// std's way.
    pub fn open(self, path: &Path) -> io::Result<std::fs::File> {
        let mut options = std::fs::File::options();
        options.read(!self.write).write(self.write).create(self.create).custom_flags(self.flags()).open(path)
    }
}

/// What a file server does.
pub trait Sends: Net + Files {
    /// Reads the beginning of a file, as much as the buffer has room for.
    fn read_start(file: &Self::File, buf: Vec<u8>) -> impl Future<Output = BufResult<usize>>;

    /// Sends the beginning of a file, as much as the buffer has room for.
    fn send_file(stream: &mut Self::Stream, file: &Self::File, buf: Vec<u8>) -> impl Future<Output = BufResult<()>> {
        async move {
            let (result, buf) = Self::read_start(file, buf).await;
            match result {
                Ok(_) => stream.write_all(buf).await,
                Err(error) => (Err(error), buf),
            }
        }
    }
}

/// A buffer of which every byte has been initialised.
pub fn buffer(len: usize) -> Vec<u8> {
    vec![0; len]
}

/// The whole of a buffer that [`buffer`] has made, as a slice to read into. `truncate` it afterwards.
#[allow(dead_code, reason = "for runtimes that take slices, which may be left out")]
pub fn whole(buf: &mut Vec<u8>) -> &mut [u8] {
    // SAFETY: every byte of its capacity was initialised when it was made, and lengths were only ever lowered since.
    unsafe { buf.set_len(buf.capacity()) };
    buf
}

/// A future that is handed to a runtime which wants `Send`, by code that is generic over runtimes which do not.
#[allow(dead_code, reason = "for tokio, which may be left out")]
pub struct AssertSend<T>(T);

// SAFETY: made by `assert_send` only, whose callers promise it.
unsafe impl<T> Send for AssertSend<T> {}

#[allow(dead_code, reason = "for tokio, which may be left out")]
impl<T> AssertSend<T> {
    /// # Safety
    /// What the future holds across awaits, and its output, must in fact be `Send`.
    pub unsafe fn new(value: T) -> AssertSend<T> {
        AssertSend(value)
    }

    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<F: Future> Future for AssertSend<F> {
    type Output = AssertSend<F::Output>;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        // SAFETY: a projection to the only field, which never moves out of a pinned value.
        unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(cx).map(AssertSend)
    }
}

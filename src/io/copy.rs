//! From a reader to a writer, and between two streams.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use super::outbox::Outbox;
use super::progress::{Broken, Limited, Shared, both, limits};
use super::{Read, Split, Write};
#[cfg(doc)]
use crate::op::CutShort;

/// Bytes of the buffer at first, and at most: it grows when reads fill it.
const FIRST_SIZE: usize = 8 * 1024;
const MOST_SIZE: usize = 256 * 1024;

async fn one_way<R: Read + ?Sized, W: Write + ?Sized>(
    reader: &mut R,
    writer: &mut W,
    shared: &Shared,
    direction: usize,
) -> Result<(), Broken> {
    let mut outbox = Outbox::new();
    let mut size = FIRST_SIZE;
    loop {
        let mut buf = outbox.take();
        buf.reserve(size);
        let capacity = buf.capacity();
        let Some((result, mut buf)) = shared.unless_stopped(reader.read(buf)).await else {
            return Err(Broken::Stopped(Vec::new()));
        };
        buf.truncate(*result.as_ref().unwrap_or(&0));
        outbox.put(buf);
        match result {
            Ok(0) => break,
            Ok(count) if count == capacity => size = (size * 2).min(MOST_SIZE),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Broken::Failed(error)),
        }
        let drained = shared.unless_stopped(outbox.drain(writer)).await;
        if drained.is_none() {
            outbox.settle(writer).await?;
        }
        shared.set_copied(direction, outbox.written());
        match drained {
            Some(result) => result?,
            None => return Err(Broken::Stopped(outbox.rest().to_vec())),
        }
    }
    match shared.unless_stopped(writer.flush()).await {
        Some(result) => Ok(result?),
        None => Err(Broken::Stopped(Vec::new())),
    }
}

/// One direction of two: the end of one stream is passed on to the other.
async fn one_way_and_close<R: Read, W: Write>(
    mut reader: R,
    mut writer: W,
    shared: &Shared,
    direction: usize,
) -> Result<(), Broken> {
    one_way(&mut reader, &mut writer, shared, direction).await?;
    match shared.unless_stopped(writer.shutdown()).await {
        Some(result) => Ok(result?),
        None => Err(Broken::Stopped(Vec::new())),
    }
}

/// Made by [`copy`].
#[must_use = "nothing is copied unless it is awaited"]
pub struct Copy<'a>(Limited<'a, u64>);

limits!(Copy, u64);

impl Copy<'_> {
    /// Bytes that the writer has taken so far; those of a write that is under way are counted when it is over.
    pub fn copied(&self) -> u64 {
        self.0.copied(0)
    }
}

/// Copies everything from a reader to a writer, flushes, and gives the number of bytes. One read or one write is in
/// flight at a time; the buffer grows from 8 to 256 KiB when reads fill it.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::{fs::File, io};
/// let mut file = File::open("/etc/hostname").await?;
/// let mut content = Vec::new();
/// let count = io::copy(&mut file, &mut content).await?;
/// assert_eq!(count, content.len() as u64);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Splice or copy
/// It reads and writes, whatever the two are: [`splice`](super::splice()) moves bytes without reading them, but each step is work
/// for a thread of the kernel's, and that costs more than copying what most reads bring. CPU time of `splice` over that of `copy`
/// (`cargo bench --bench splice`; loopback, two CPUs of an AMD EPYC guest, Linux 6.18, a busy machine, best quarter of nine):
///
/// | from | to | splice ÷ copy |
/// |---|---|---|
/// | a socket, one message of 4 KiB at a time | a socket | 2.3 |
/// | one of 16 KiB | | 2.7 |
/// | one of 64 KiB | | 1.5 |
/// | one of 1 MiB | | 1.1 |
/// | a socket, a stream without end | | 0.8 |
/// | a file of 16 KiB | a socket | 3.0 |
/// | one of 64 KiB | | 1.6 |
/// | one of 1 MiB | | 0.7 |
/// | one of 64 MiB | | 1.0 |
///
/// What will come, a copy cannot know, so whoever knows that it is bulk says `splice`.
///
/// # Cancellation
/// Awaited by `&mut`, in a `select!` in a loop, it just goes on. Ended by [`Copy::timeout`] or [`Copy::cancel_on`] it
/// loses nothing: what was read and not written is in the error ([`CutShort::unwritten`]), what was not read comes out
/// of the next read. Dropped, it loses what it had read and not yet written, up to a buffer full.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::io::{self, Write};
/// use ringtoss::op::CutShort;
/// use std::time::Duration;
///
/// let (mut reader, mut client) = io::duplex(64);
/// let (mut writer, _server) = io::duplex(4);
/// client.write_all("abcdefgh").await.0?;
/// let error = io::copy(&mut reader, &mut writer).timeout(Duration::from_millis(10)).await.unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// let cut = error.get_ref().unwrap().downcast_ref::<CutShort>().unwrap();
/// assert_eq!((cut.transferred(), cut.unwritten()), (4, &b"efgh"[..]));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// The reader's and the writer's; `WriteZero` if the writer takes no more. What the writer had taken, [`Copy::copied`]
/// tells.
pub fn copy<'a, R, W>(reader: &'a mut R, writer: &'a mut W) -> Copy<'a>
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    let shared = Arc::new(Shared::default());
    let this = shared.clone();
    let future = Box::pin(async move {
        match one_way(reader, writer, &this, 0).await {
            Ok(()) => Ok(this.copied(0)),
            Err(Broken::Failed(error)) => Err(error),
            Err(Broken::Stopped(unwritten)) => Err(this.cut_short(0, unwritten).into_error()),
        }
    });
    Copy(Limited::new(future, shared))
}

/// One way by itself: of the halves of a type that is not known, Rust 1.88 does not see in a future that they may be sent.
fn boxed<'a, R, W>(reader: R, writer: W, shared: Arc<Shared>, direction: usize) -> OneWay<'a>
where
    R: Read + 'a,
    W: Write + 'a,
{
    Box::pin(async move { one_way_and_close(reader, writer, &shared, direction).await })
}

type OneWay<'a> = Pin<Box<dyn Future<Output = Result<(), Broken>> + Send + 'a>>;

/// Made by [`copy_bidirectional`].
#[must_use = "nothing is copied unless it is awaited"]
pub struct CopyBidirectional<'a>(Limited<'a, (u64, u64)>);

limits!(CopyBidirectional, (u64, u64));

impl CopyBidirectional<'_> {
    /// Bytes that were taken so far, from the first to the second and the other way.
    pub fn copied(&self) -> (u64, u64) {
        (self.0.copied(0), self.0.copied(1))
    }
}

/// Copies in both directions between two streams until both have ended, and gives the numbers of bytes, from `a` to `b`
/// and the other way. The end of one is passed on to the other (`shutdown`), while the other direction goes on.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::io;
/// use ringtoss::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let upstream = TcpListener::bind("127.0.0.1:0").await?;
/// let (front, back) = (listener.local_addr()?, upstream.local_addr()?);
/// ringtoss::spawn(async move {
///     let (mut client, _) = listener.accept().await?;
///     let mut server = TcpStream::connect(back).await?;
///     io::copy_bidirectional(&mut client, &mut server).await
/// });
/// let mut client = TcpStream::connect(front).await?;
/// let (mut server, _) = upstream.accept().await?;
/// client.write_all("through").await.0?;
/// client.shutdown(std::net::Shutdown::Write).await?;
/// assert_eq!(server.read_to_end(Vec::new()).await.1, b"through");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Cancellation
/// As that of [`copy`], in both directions: [`CutShort::transferred`] and [`CutShort::unwritten`] tell of the way from
/// `a` to `b`, those of [`CutShort::back`] of the other.
///
/// # Errors
/// The first of any of the four ends. The other direction is dropped then, as by a drop of the whole.
pub fn copy_bidirectional<'a, A, B>(a: &'a mut A, b: &'a mut B) -> CopyBidirectional<'a>
where
    A: Split + ?Sized,
    B: Split + ?Sized,
{
    let shared = Arc::new(Shared::default());
    let this = shared.clone();
    let (a_reader, a_writer) = a.split();
    let (b_reader, b_writer) = b.split();
    let there = boxed(a_reader, b_writer, shared.clone(), 0);
    let back = boxed(b_reader, a_writer, shared.clone(), 1);
    let future = Box::pin(async move { both(there, back, &this).await });
    CopyBidirectional(Limited::new(future, shared))
}

const _: () = {
    const fn send<T: Send + Unpin>() {}
    send::<Copy<'static>>();
    send::<CopyBidirectional<'static>>();
};

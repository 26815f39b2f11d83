//! From a reader to a writer, and between two streams.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::outbox::Outbox;
use super::{Read, Split, Write};
use crate::op::CutShort;
use crate::time::{Sleep, sleep};
use crate::token::{CancellationToken, WaitForCancellationOwned};

/// Bytes of the buffer at first, and at most: it grows when reads fill it.
const FIRST_SIZE: usize = 8 * 1024;
const MOST_SIZE: usize = 256 * 1024;

/// What the future and the one who asks it how far it is share.
#[derive(Debug, Default)]
struct Shared {
    copied: [AtomicU64; 2],
    /// An `errno` for why it is to stop, or 0.
    stop: AtomicI32,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) != 0
    }

    fn copied(&self, direction: usize) -> u64 {
        self.copied[direction].load(Ordering::Relaxed)
    }

    /// The output of a step, or nothing when it is to stop. A step that was faster has its output.
    async fn unless_stopped<F: Future>(&self, step: F) -> Option<F::Output> {
        if self.stopped() {
            return None;
        }
        let mut step = pin!(step);
        poll_fn(|cx| match step.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.stopped() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

/// Why one direction did not come to its end.
enum Broken {
    Failed(io::Error),
    /// It was to stop. What was read and not written is here.
    Stopped(Vec<u8>),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Failed(error)
    }
}

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
        shared.copied[direction].store(outbox.written(), Ordering::Relaxed);
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

/// Waits for both, but ends with the first failure.
async fn both(
    there: impl Future<Output = Result<(), Broken>>,
    back: impl Future<Output = Result<(), Broken>>,
) -> io::Result<[Option<Vec<u8>>; 2]> {
    let (mut there, mut back) = (pin!(there), pin!(back));
    let mut ends = [None, None];
    poll_fn(|cx| {
        for (index, end) in ends.iter_mut().enumerate().filter(|(_, end)| end.is_none()) {
            let polled = if index == 0 { there.as_mut().poll(cx) } else { back.as_mut().poll(cx) };
            match polled {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => *end = Some(None),
                Poll::Ready(Err(Broken::Stopped(unwritten))) => *end = Some(Some(unwritten)),
                Poll::Ready(Err(Broken::Failed(error))) => return Poll::Ready(Err(error)),
            }
        }
        if ends.iter().all(Option::is_some) { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    Ok(ends.map(Option::flatten))
}

/// A copy with its limits. `T` is what it counts.
struct Limited<'a, T> {
    future: Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>,
    shared: Arc<Shared>,
    sleep: Option<Sleep>,
    cancelled: Option<WaitForCancellationOwned>,
}

impl<T> Limited<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        let late = self.sleep.as_mut().is_some_and(|sleep| Pin::new(sleep).poll(cx).is_ready());
        let cancelled = self.cancelled.as_mut().is_some_and(|cancelled| Pin::new(cancelled).poll(cx).is_ready());
        if !late && !cancelled {
            return Poll::Pending;
        }
        (self.sleep, self.cancelled) = (None, None);
        self.shared.stop.store(if late { libc::ETIMEDOUT } else { libc::ECANCELED }, Ordering::Relaxed);
        self.future.as_mut().poll(cx)
    }
}

macro_rules! limits {
    ($name:ident, $counts:ty) => {
        impl<'a> $name<'a> {
            /// Bounds it: when `limit` has passed, it stops and gives an error of kind
            /// [`TimedOut`](io::ErrorKind::TimedOut) in which a [`CutShort`] tells how far it came and what was read
            /// but not written. The time starts now.
            pub fn timeout(mut self, limit: Duration) -> $name<'a> {
                self.0.sleep = Some(sleep(limit));
                self
            }

            /// Bounds it by a token in the same way; the error has the kind that the `errno` `ECANCELED` has.
            pub fn cancel_on(mut self, token: &CancellationToken) -> $name<'a> {
                self.0.cancelled = Some(token.clone().cancelled_owned());
                self
            }
        }

        impl Future for $name<'_> {
            type Output = io::Result<$counts>;

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<$counts>> {
                self.0.poll(cx)
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("copied", &self.copied()).finish_non_exhaustive()
            }
        }
    };
}

/// Made by [`copy`].
#[must_use = "nothing is copied unless it is awaited"]
pub struct Copy<'a>(Limited<'a, u64>);

limits!(Copy, u64);

impl Copy<'_> {
    /// Bytes that the writer has taken so far; those of a write that is under way are counted when it is over.
    pub fn copied(&self) -> u64 {
        self.0.shared.copied(0)
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
            Err(Broken::Stopped(unwritten)) => {
                let errno = this.stop.load(Ordering::Relaxed);
                Err(CutShort::copy(errno, this.copied(0), unwritten).into_error())
            }
        }
    });
    Copy(Limited { future, shared, sleep: None, cancelled: None })
}

/// Made by [`copy_bidirectional`].
#[must_use = "nothing is copied unless it is awaited"]
pub struct CopyBidirectional<'a>(Limited<'a, (u64, u64)>);

limits!(CopyBidirectional, (u64, u64));

impl CopyBidirectional<'_> {
    /// Bytes that were taken so far, from the first to the second and the other way.
    pub fn copied(&self) -> (u64, u64) {
        (self.0.shared.copied(0), self.0.shared.copied(1))
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
    let future = Box::pin(async move {
        let (a_reader, a_writer) = a.split();
        let (b_reader, b_writer) = b.split();
        let there = one_way_and_close(a_reader, b_writer, &this, 0);
        let back = one_way_and_close(b_reader, a_writer, &this, 1);
        let [there, back] = both(there, back).await?;
        if there.is_none() && back.is_none() {
            return Ok((this.copied(0), this.copied(1)));
        }
        let errno = this.stop.load(Ordering::Relaxed);
        let back = CutShort::copy(errno, this.copied(1), back.unwrap_or_default());
        Err(CutShort::copy(errno, this.copied(0), there.unwrap_or_default()).with_back(back).into_error())
    });
    CopyBidirectional(Limited { future, shared, sleep: None, cancelled: None })
}

const _: () = {
    const fn send<T: Send + Unpin>() {}
    send::<Copy<'static>>();
    send::<CopyBidirectional<'static>>();
};

//! What the tests share.

#[path = "../patience/mod.rs"]
mod patience;
#[path = "../pattern/mod.rs"]
mod pattern;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use ringtoss::buf::{BufResult, IoBuf, IoBufMut, IoBufMutExt};
use ringtoss::io::{Read, Write};
use ringtoss::net::{TcpListener, TcpStream};

pub use patience::*;
pub use pattern::*;

/// Polls a future so often, with a turn of the loop after each poll, and drops it.
pub async fn poll_and_drop<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(output);
        }
        turn().await;
    }
    None
}

/// Lets the loop go round.
pub async fn turn() {
    ringtoss::op::nop().await.unwrap();
}

/// Two connected streams.
pub async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) = futures::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// Numbers that look random, the same ones every time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

/// Is pending now and then.
async fn now_and_then(random: &mut Random) {
    for _ in 0..random.below(3) {
        ringtoss::yield_now().await;
    }
}

/// A reader of one's own that gives a pattern in pieces, after interruptions and waits, with the default methods.
pub struct Pieces {
    pub place: usize,
    pub len: usize,
    pub random: Random,
}

impl Pieces {
    pub fn of(len: usize) -> Pieces {
        Pieces { place: 0, len, random: Random((len as u64).wrapping_add(8) | 1) }
    }
}

impl Read for Pieces {
    async fn read<B: IoBufMut + Send>(&mut self, mut buf: B) -> BufResult<usize, B> {
        now_and_then(&mut self.random).await;
        if self.random.below(5) == 0 {
            return (Err(io::ErrorKind::Interrupted.into()), buf);
        }
        let most = 1 + self.random.below(1000);
        let count = buf.fill_from(&pattern(self.place, most.min(self.len - self.place)));
        self.place += count;
        (Ok(count), buf)
    }
}

/// A writer of one's own that takes pieces of what it is given, after interruptions and waits, at most so many bytes.
pub struct Taker {
    pub taken: Vec<u8>,
    pub most: usize,
    pub random: Random,
    /// A write that has taken something and has not told yet.
    dropped: Option<usize>,
}

impl Taker {
    pub fn of(most: usize) -> Taker {
        Taker { taken: Vec::new(), most, random: Random((most as u64).wrapping_add(4) | 1), dropped: None }
    }
}

impl Write for Taker {
    async fn write<B: IoBuf + Send>(&mut self, buf: B) -> BufResult<usize, B> {
        self.dropped = None;
        now_and_then(&mut self.random).await;
        if self.random.below(5) == 0 {
            return (Err(io::ErrorKind::Interrupted.into()), buf);
        }
        let piece = 1 + self.random.below(1000);
        let count = piece.min(buf.buf_len()).min(self.most - self.taken.len());
        if count == 0 && buf.buf_len() > 0 {
            return (Err(io::ErrorKind::StorageFull.into()), buf);
        }
        self.taken.extend_from_slice(&buf.buf_slice()[..count]);
        self.dropped = Some(count);
        now_and_then(&mut self.random).await;
        self.dropped = None;
        (Ok(count), buf)
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn take_dropped_write(&mut self) -> Option<io::Result<usize>> {
        ringtoss::yield_now().await;
        self.dropped.take().map(Ok)
    }
}

/// A future that is `Send`, for what takes only those.
pub fn is_send<F: Future + Send>(future: F) -> F {
    future
}

/// Polls something that is `Unpin` once.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

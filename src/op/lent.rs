//! Sending without copying in two stages: the result when there is one, the buffer when the kernel has let go of it.
//!
//! The operation ends with its first completion, if that tells all, though the slot's life goes on: what becomes of the slot
//! is left to a second operation of the same name there, which owns nothing but the buffer. It may be moved, for what the
//! kernel reads is on the heap; it may be dropped, and then the slot keeps the buffer until the notification, as it
//! would of any other.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Arena, Cqe, CutShort, Left, Next, Op, Operation, Sealed, Sends, Sqe, ZeroCopy, has_copied};
use crate::salvage::{Lane, Salvage};
use crate::slot::Key;

/// Made by [`Operation::result_first`].
#[derive(Debug)]
pub struct ResultFirst<O> {
    sending: ZeroCopy<O>,
    /// What is known before the kernel has let go: how many bytes were sent, and the name of the slot that has the buffer.
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    sent: usize,
    loop_id: u64,
    key: Key,
}

impl<'a, O: Sends> Operation<'a, ZeroCopy<O>> {
    /// Has it end as soon as it is known what was sent, with the buffer to be had later: what it gives is the result and a
    /// [`LentBuf`], which gives the buffer when the kernel has let go of it. So the next send need not wait for the peer to have
    /// acknowledged this one, and a time limit covers the sending only.
    ///
    /// All else is as it was: what [`send_zc`](crate::net::TcpStream::send_zc) says of errors and limits, and of dropping it. What
    /// was copied, or not sent at all, comes back at once: then the [`LentBuf`] is [ready](LentBuf::is_back).
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// # use ringtoss::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let mut stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let (sent, first) = stream.send_zc(vec![1; 32_768]).result_first().await;
    /// let (sent_too, second) = stream.send_zc(vec![2; 32_768]).result_first().await;
    /// println!("{} bytes", sent? + sent_too?);
    /// // Both are the kernel's still, perhaps. To wait for one is to have it back:
    /// let buffer = first.await;
    /// // One that is not needed again is freed when that is safe.
    /// drop(second);
    /// # assert_eq!(buffer[0], 1);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If it was polled.
    pub fn result_first(self) -> Operation<'a, ResultFirst<O>> {
        let (sending, fd) = self.into_parts();
        Operation::made(ResultFirst { sending, known: None }, fd)
    }
}

impl<O> Sealed for ResultFirst<O> {}

// SAFETY: the addresses are the sending operation's. It is completed before the last completion only as `lend` has said, and
// then what the kernel still reads, the buffer, goes to an operation that owns it until the last one.
unsafe impl<O: Sends> Op for ResultFirst<O> {
    type Output = (io::Result<O::Count>, LentBuf<O::Buf>);

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.sending.prepare(sqe, arena)
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if !cqe.more() {
            // A waker that panicked has kept it from ending when it could have.
            self.known = None;
        }
        self.sending.step(cqe)
    }

    const LENDS: bool = true;

    fn lend(&mut self, loop_id: u64, key: Key, stopped: bool) -> Option<Cqe> {
        // Before it is known, because it asks the buffer, which may panic: then the slot has all of it still.
        let (sent, is_all) = self.sending.sent_so_far()?;
        if !is_all && !stopped {
            // The rest goes when the kernel has let go, as ever.
            return None;
        }
        self.known = Some(Known { sent, loop_id, key });
        Some(Cqe::of(if is_all { 0 } else { -libc::ECANCELED }))
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        let Some(Known { sent, loop_id, key }) = self.known else {
            let (result, buf) = self.sending.complete(cqe);
            return (result, LentBuf(State::Back(Some(buf))));
        };
        // No code of the user's runs before the slot has its new operation.
        let (buf, memory) = self.sending.into_loan();
        let lent = LentBuf(State::Out(Operation::of_slot(Loan { buf, memory }, loop_id, key)));
        (if cqe.result < 0 { Err(CutShort::error(-cqe.result, sent)) } else { Ok(O::count(sent)) }, lent)
    }

    fn lane(&self) -> Lane {
        self.sending.lane()
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        self.sending.leave(cqe)
    }

    fn abandon(&mut self) {
        self.sending.abandon();
    }

    fn progress(&self) -> usize {
        self.sending.progress()
    }
}

/// A buffer that the kernel still reads, until the notification.
#[derive(Debug)]
struct Loan<B> {
    buf: B,
    /// Who is to know if the kernel has copied.
    memory: Option<Arc<Salvage>>,
}

impl<B> Sealed for Loan<B> {}

// SAFETY: it is never prepared, and it owns what the kernel reads until the last completion.
unsafe impl<B: 'static> Op for Loan<B> {
    type Output = B;

    fn prepare(&mut self, _sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        unreachable!("the kernel has it already")
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if cqe.more() {
            return Next::More;
        }
        if let Some(memory) = &self.memory
            && has_copied(cqe)
        {
            memory.note_copies();
        }
        Next::Done(cqe)
    }

    fn complete(self, _cqe: Cqe) -> B {
        self.buf
    }

    fn can_be_cancelled(&self) -> bool {
        false
    }
}

/// A buffer that the kernel sends from; awaited, it gives it back. See [`Operation::result_first`].
///
/// The kernel lets go when the peer has acknowledged, or the connection has ended. Dropped before, the buffer is freed
/// then. It has nothing to do with the socket any more: that may be used, dropped and closed meanwhile. It may be awaited on
/// other threads, if the buffer may go there.
///
/// # Panics
/// When it is polled where no loop runs, while the buffer is not back; when it is polled after its end.
#[must_use = "awaiting it gives the buffer back"]
pub struct LentBuf<B: 'static>(State<B>);

enum State<B: 'static> {
    Back(Option<B>),
    Out(Operation<'static, Loan<B>>),
}

// The buffer is never pinned: it may be moved also while the kernel reads from it.
impl<B> Unpin for LentBuf<B> {}

impl<B> LentBuf<B> {
    /// Whether the buffer was back when the result was known: then awaiting it waits for nothing.
    pub fn is_back(&self) -> bool {
        matches!(self.0, State::Back(_))
    }
}

impl<B> fmt::Debug for LentBuf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LentBuf").field("is_back", &self.is_back()).finish_non_exhaustive()
    }
}

impl<B> Future for LentBuf<B> {
    type Output = B;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B> {
        match &mut self.get_mut().0 {
            State::Back(buf) => Poll::Ready(buf.take().expect("ringtoss: a lent buffer was polled after its end")),
            State::Out(operation) => Pin::new(operation).poll(cx),
        }
    }
}

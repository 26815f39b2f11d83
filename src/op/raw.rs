//! The operation that does nothing, and the way for those that are not wrapped.

use std::io;

use super::{Arena, Cqe, Link, Next, Op, Operation, Sealed, Sqe};
use crate::buf::BufResult;
use crate::ring::{HARDLINK, LINK, SKIP_SUCCESS};

/// `IORING_OP_NOP`: made by [`nop`].
#[doc(alias = "IORING_OP_NOP")]
#[derive(Debug)]
pub struct Nop(());

impl Sealed for Nop {}

// SAFETY: the entry holds no address.
unsafe impl Op for Nop {
    type Output = io::Result<()>;

    #[inline]
    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        *sqe = Sqe::new(io_uring::opcode::Nop::CODE);
        Ok(())
    }

    #[inline]
    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }
}

/// Does nothing, through the whole stack: submission, completion, wake. For measuring, and to let a turn pass.
/// `IORING_OP_NOP`, see `io_uring_enter(2)`.
///
/// ```
/// ringtoss::block_on(async { ringtoss::op::nop().await }).unwrap();
/// ```
#[inline]
pub fn nop() -> Operation<'static, Nop> {
    Operation::<Nop>::new(Nop(()))
}

/// What the kernel said to a raw submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The result, never negative.
    pub result: u32,
    /// `IORING_CQE_F_*` flags of the completion that carried it.
    pub flags: u32,
}

/// A raw submission: made by [`submit`].
#[derive(Debug)]
pub struct Raw<K> {
    entry: Sqe,
    keep_alive: K,
    first: Option<Cqe>,
}

impl<K> Sealed for Raw<K> {}

// SAFETY: whoever made it promised in `submit` that the addresses stay valid while `keep_alive` lives, moved or not.
unsafe impl<K: 'static> Op for Raw<K> {
    type Output = BufResult<Completion, K>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        if self.entry.flags & (LINK | HARDLINK | SKIP_SUCCESS) != 0 {
            return Err(libc::EINVAL);
        }
        *sqe = self.entry;
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        // The result comes first; what follows (a notification) says that the kernel has let go.
        let first = *self.first.get_or_insert(cqe);
        if cqe.more() { Next::More } else { Next::Done(first) }
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        let result = if self.entry.flags & (LINK | HARDLINK | SKIP_SUCCESS) != 0 {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a raw entry can neither be linked nor skip its completion: it is submitted alone and awaited",
            ))
        } else {
            cqe.ok().map(|result| Completion { result, flags: cqe.flags })
        };
        (result, self.keep_alive)
    }
}

/// Submits any entry, for operations that this crate does not wrap. `keep_alive` owns what the entry's addresses point
/// to; it comes back with the result. Its `user_data` is the loop's and is overwritten. Where the kernel gives several
/// completions, the first is the result, and the last says that it is over.
///
/// Dropped early, `keep_alive` is kept until the kernel has let go; a descriptor that the operation may give is *not*
/// closed then, because only the caller knows that there is one.
///
/// # Safety
/// Every address in the entry must be valid for what the opcode does with it for as long as `keep_alive` lives, wherever
/// that is moved. The descriptor must stay open until the operation is done or dropped and a turn has passed.
///
/// # Errors
/// What the operation gives, as std would say it; `InvalidInput` for entries that are linked or skip their completion.
///
/// ```
/// use ringtoss::op::{self, Sqe};
/// ringtoss::block_on(async {
///     // IORING_OP_NOP, by hand.
///     let (result, ()) = unsafe { op::submit(Sqe::new(0), ()) }.await;
///     assert_eq!(result.unwrap().result, 0);
/// });
/// ```
pub unsafe fn submit<K: 'static>(entry: Sqe, keep_alive: K) -> Operation<'static, Raw<K>> {
    Operation::<Raw<K>>::new(Raw { entry, keep_alive, first: None })
}

impl Link for Nop {}

//! Advice on memory: `IORING_OP_MADVISE`. The kernel makes the call in a worker thread.

use super::{Arena, Cqe, Next, Op, Operation, Sealed, Sqe};
use crate::buf::{BufResult, IoBufMut};
use crate::sys;

/// What one entry is for at most, in bytes: whole pages, also of the largest kind.
const STEP: usize = 1 << 30;

/// How memory will be used: for [`madvise`]. Nothing here changes what the memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryAdvice {
    /// In no special way.
    Normal,
    /// At random: nothing is read ahead.
    Random,
    /// From the start to the end.
    Sequential,
    /// Soon.
    WillNeed,
    /// Less than others: it goes first when memory is short.
    Cold,
    /// Not soon: it goes to swap, or back to its file, now.
    PageOut,
    /// Whoever reads it next does not wait for it: it is made present now.
    PopulateRead,
    /// The same for whoever writes to it next.
    PopulateWrite,
    /// By huge pages, where there are such.
    HugePage,
    /// Not by huge pages.
    NoHugePage,
    /// By huge pages, at once (Linux 6.1).
    Collapse,
}

impl MemoryAdvice {
    fn number(self) -> u32 {
        // `MADV_COLLAPSE`.
        const COLLAPSE: libc::c_int = 25;
        let number = match self {
            MemoryAdvice::Normal => libc::MADV_NORMAL,
            MemoryAdvice::Random => libc::MADV_RANDOM,
            MemoryAdvice::Sequential => libc::MADV_SEQUENTIAL,
            MemoryAdvice::WillNeed => libc::MADV_WILLNEED,
            MemoryAdvice::Cold => libc::MADV_COLD,
            MemoryAdvice::PageOut => libc::MADV_PAGEOUT,
            MemoryAdvice::PopulateRead => libc::MADV_POPULATE_READ,
            MemoryAdvice::PopulateWrite => libc::MADV_POPULATE_WRITE,
            MemoryAdvice::HugePage => libc::MADV_HUGEPAGE,
            MemoryAdvice::NoHugePage => libc::MADV_NOHUGEPAGE,
            MemoryAdvice::Collapse => COLLAPSE,
        };
        number as u32
    }
}

/// `IORING_OP_MADVISE`: `madvise(2)` on the memory of a buffer.
#[doc(alias = "IORING_OP_MADVISE")]
#[derive(Debug)]
pub struct Madvise<B> {
    buf: B,
    advice: MemoryAdvice,
    done: usize,
    step: usize,
}

impl<B> Sealed for Madvise<B> {}

// SAFETY: the address is inside the buffer, which `IoBufMut` promises to stay put while it is moved; only whole pages of it
// are named, and no advice changes what they hold.
unsafe impl<B: IoBufMut> Op for Madvise<B> {
    type Output = BufResult<(), B>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let page = sys::page_size();
        let buffer = self.buf.buf_mut_ptr() as usize;
        let (start, end) =
            (buffer.next_multiple_of(page) + self.done, (buffer + self.buf.buf_capacity()) / page * page);
        if start >= end {
            return Err(0);
        }
        self.step = (end - start).min(STEP);
        *sqe = Sqe::new(io_uring::opcode::Madvise::CODE)
            .addr(start as u64)
            .len(self.step as u32)
            .op_flags(self.advice.number());
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if cqe.interrupted() {
            return Next::Again;
        }
        if cqe.result == 0 && self.step == STEP {
            self.done += self.step;
            self.step = 0;
            return Next::Again;
        }
        Next::Done(cqe)
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        (cqe.ok().map(drop), self.buf)
    }
}

/// Tells how the memory of a buffer will be used, all of its capacity as far as that is whole pages: `IORING_OP_MADVISE`,
/// `madvise(2)`. It is for large buffers, and for memory that is mapped ([`IoBufMut`] can be implemented for that). The
/// buffer comes back. Dropped early, it may happen all the same; the buffer is freed when the kernel has let go of it.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::{buf::AlignedBuf, op::{self, MemoryAdvice}};
/// // Whoever fills it does not wait for memory.
/// let (result, buf) = op::madvise(AlignedBuf::with_capacity(1 << 20), MemoryAdvice::PopulateWrite).await;
/// result?;
/// assert_eq!(buf.capacity(), 1 << 20);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// `InvalidInput` for what the kernel was built without, or what does not fit the memory; `OutOfMemory`, ….
pub fn madvise<B: IoBufMut>(buf: B, advice: MemoryAdvice) -> Operation<'static, Madvise<B>> {
    Operation::<Madvise<B>>::new(Madvise { buf, advice, done: 0, step: 0 })
}

//! Transfers with registered buffers: `IORING_OP_READ_FIXED`, `WRITE_FIXED`, `READV_FIXED`, `WRITEV_FIXED`, and sending
//! without copying.
//!
//! What an operation does is decided here: the buffer's memory is registered with the loop that its entry is for, or the entry is
//! the plain one.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Arena, Cqe, Sqe};
use crate::buf::Region;

/// `IORING_RECVSEND_FIXED_BUF`, in `ioprio`.
const FIXED_BUF: u16 = 1 << 2;

/// This kernel has no vectored operations on registered buffers.
static VECTORED_REFUSED: AtomicBool = AtomicBool::new(false);

/// The entry of a transfer of so many bytes, but for its file and addresses: of two opcodes the plain one, or that of the same with a
/// registered buffer, if the buffer is registered with this loop. Written once: what was written in one piece, changed in part and read
/// as a whole is there for the CPU only when all of it has reached its cache.
#[inline(always)]
pub(super) fn entry((plain, fixed): (u8, u8), region: Option<&Region>, len: u32, arena: &Arena) -> Sqe {
    let index = region.filter(|_| len > 0).and_then(|region| region.index_on(arena.loop_id));
    let (code, index) = index.map_or((plain, 0), |index| (fixed, index));
    Sqe::new(code).len(len).buf_index(index)
}

/// The same for the entry of a transfer of several buffers, or of one without copying, which was made already. Says whether.
pub(super) fn use_registered(sqe: &mut Sqe, region: Option<&Region>, arena: &Arena) -> bool {
    use io_uring::opcode;

    let Some(index) = region.and_then(|region| region.index_on(arena.loop_id)) else { return false };
    let code = match sqe.opcode {
        opcode::SendZc::CODE => {
            sqe.ioprio |= FIXED_BUF;
            opcode::SendZc::CODE
        }
        opcode::Readv::CODE if knows_vectored(sqe.fd) => opcode::ReadvFixed::CODE,
        opcode::Writev::CODE if knows_vectored(sqe.fd) => opcode::WritevFixed::CODE,
        _ => return false,
    };
    sqe.opcode = code;
    sqe.buf_index = index;
    true
}

/// Whether the kernel goes by its own description of the buffers. Of files that know only plain reads and writes (most of
/// `/proc`, many devices) it takes the iovecs' own memory for the buffer (6.18), late and in a worker thread. Such cannot be
/// opened with `O_DIRECT`.
fn has_iterators(fd: i32) -> bool {
    crate::sys::status_flags(fd).is_ok_and(|flags| flags & libc::O_DIRECT != 0)
}

fn knows_vectored(fd: i32) -> bool {
    !VECTORED_REFUSED.load(Ordering::Relaxed) && has_iterators(fd)
}

/// How a vectored operation goes. Kernels before 6.15 do not know the ones on registered buffers, which they say with the
/// same error as for many other reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Vectored {
    #[default]
    Plain,
    Fixed,
    /// Refused, and tried the plain way to see whether that was why.
    Doubted,
}

impl Vectored {
    pub(super) fn prefer(&mut self, sqe: &mut Sqe, region: Option<&Region>, arena: &Arena) {
        if *self != Vectored::Doubted && use_registered(sqe, region, arena) {
            *self = Vectored::Fixed;
        }
    }

    /// Whether it has to be tried again, the plain way.
    pub(super) fn refused(&mut self, cqe: Cqe) -> bool {
        let invalid = cqe.result == -libc::EINVAL;
        match self {
            Vectored::Fixed if invalid => {
                *self = Vectored::Doubted;
                return true;
            }
            Vectored::Doubted if !invalid => VECTORED_REFUSED.store(true, Ordering::Relaxed),
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Op, Read, Readv, Write, Writev, vectored::Place};
    use super::*;
    use crate::buf::{IoBuf, IoBufExt, RegisteredPool};
    use crate::context;
    use io_uring::opcode;

    fn entry<O: Op>(mut op: O, loop_id: u64) -> (u8, u16) {
        let (mut sqe, mut arena) = (Sqe::new(0), Arena::default());
        arena.loop_id = loop_id;
        op.prepare(&mut sqe, &mut arena).unwrap();
        (sqe.opcode, sqe.buf_index)
    }

    /// The table of fixed buffers is the loop's own; on any other the entry must not name its places.
    #[test]
    fn only_on_the_loop_that_knows_it_the_buffer_is_a_registered_one() {
        crate::block_on(async {
            let pool = RegisteredPool::new(4096, 1000).unwrap();
            let other = RegisteredPool::new(4096, 1).unwrap();
            let here = context::current_id();
            let full = |pool: &RegisteredPool| {
                let mut buf = pool.try_take().unwrap();
                buf.resize(4096, 1);
                buf
            };
            assert_eq!(entry(Read::at(0, full(&pool), 0), here), (opcode::ReadFixed::CODE, 0));
            assert_eq!(entry(Read::at(0, full(&other), 0), here), (opcode::ReadFixed::CODE, 1));
            assert_eq!(entry(Write::at(0, full(&other), 0), here), (opcode::WriteFixed::CODE, 1));
            assert_eq!(entry(Write::at(0, full(&pool).slice(5..9), 0), here), (opcode::WriteFixed::CODE, 0));
            assert_eq!(entry(Write::at(0, full(&pool).slice(5..5), 0), here).0, opcode::Write::CODE);
            assert_eq!(entry(Read::at(0, full(&pool), 0), here + 1), (opcode::Read::CODE, 0));
            assert_eq!(entry(Read::at(0, vec![0; 8], 0), here), (opcode::Read::CODE, 0));
            if !VECTORED_REFUSED.load(Ordering::Relaxed) {
                let place = Place::File(0);
                let two = || [full(&pool), full(&pool)];
                // The flag is what it goes by.
                let mut ends = [0; 2];
                // SAFETY: room for two numbers is passed, which are ours then.
                assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_DIRECT) }, 0);
                let [plain, direct] = ends;
                assert_eq!(entry(Readv::new(direct, two(), place), here), (opcode::ReadvFixed::CODE, 0));
                assert_eq!(entry(Readv::new(plain, two(), place), here), (opcode::Readv::CODE, 0));
                let mixed = vec![full(&pool), full(&other)];
                assert_eq!(entry(Writev::new(direct, mixed, place), here).0, opcode::Writev::CODE);
                assert_eq!(entry(Writev::new(direct, (full(&other), vec![1]), place), here).0, opcode::Writev::CODE);
                ends.into_iter().for_each(|end| crate::sys::close(end).unwrap());
            }
        });
    }

    /// A place is used again when its memory is gone, however that went: here, or on another thread.
    #[test]
    fn places_in_the_table_are_given_back() {
        crate::block_on(async {
            let here = context::current_id();
            let pool = RegisteredPool::new(4096, 1).unwrap();
            let (kept, index) = (pool.try_take().unwrap(), 0);
            drop(pool);
            assert_eq!(kept.registered().unwrap().index_on(here), Some(index));
            let second = RegisteredPool::new(4096, 1).unwrap();
            assert_eq!(second.try_take().unwrap().registered().unwrap().index_on(here), Some(1));
            std::thread::spawn(move || drop(kept)).join().unwrap();
            // The mail is taken in with the next turn.
            crate::task::yield_now().await;
            let third = RegisteredPool::new(4096, 1).unwrap();
            assert_eq!(third.try_take().unwrap().registered().unwrap().index_on(here), Some(index));
        });
    }
}

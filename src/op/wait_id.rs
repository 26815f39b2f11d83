//! `IORING_OP_WAITID`: waiting for a child process to end.

use std::io;

use super::{Arena, Cqe, Next, Op, Sealed, Sqe};

/// `IORING_OP_WAITID` (Linux 6.7): `waitid(2)`, until a child has ended, and without reaping it (`WNOWAIT`). So nothing is
/// lost when its future is dropped: whoever owns the child reaps it afterwards.
#[doc(alias = "IORING_OP_WAITID")]
#[derive(Debug)]
pub struct WaitId {
    pid: u32,
}

impl WaitId {
    pub(crate) fn new(pid: u32) -> WaitId {
        WaitId { pid }
    }
}

impl Sealed for WaitId {}

// SAFETY: the entry holds no address: where the kernel would tell more about the child is left null, which it allows.
unsafe impl Op for WaitId {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let options = libc::WEXITED | libc::WNOWAIT;
        *sqe = Sqe::new(io_uring::opcode::WaitId::CODE).fd(self.pid as i32).len(libc::P_PID).file_index(options as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }
}

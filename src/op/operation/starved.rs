//! What the kernel ends because it could start no thread of its own for it.

use super::*;
use crate::ring::NO_WORKER;
use crate::sys;

impl<O: Op> Operation<'_, O> {
    /// It was cancelled, and not by this side: it may be that the kernel could start no worker thread for it. Then it is made again, if
    /// it can do without, or its error says so. (Where something on a socket is closed, it is whoever closed it; a loop that
    /// ends cancels everything.)
    #[cold]
    #[inline(never)]
    pub(super) fn cancelled_by_kernel(&mut self, cqe: Cqe) -> Option<Cqe> {
        let lives = context::current_id() == self.loop_id;
        if lives {
            if self.op().without_worker() {
                self.release_position();
                return None;
            }
            if self.fd.is_none_or(|fd| sys::has_position(fd.raw())) {
                return Some(self.ended(Cqe::of(-NO_WORKER)));
            }
        }
        Some(self.ended(cqe))
    }

    /// The same at the end of the short way.
    #[cold]
    #[inline(never)]
    pub(super) fn poll_cancelled(&mut self, cx: &mut Context<'_>, cqe: Cqe) -> Poll<Cqe> {
        match self.cancelled_by_kernel(cqe) {
            Some(cqe) => Poll::Ready(cqe),
            None => self.poll_long(cx, None),
        }
    }
}

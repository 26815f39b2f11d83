//! Operations that end before the kernel has let go of all that they own: see [`Op::lend`].

use super::*;

impl<O: Op> Operation<'_, O> {
    /// What goes on in a slot whose operation has ended.
    pub(in crate::op) fn of_slot(op: O, loop_id: u64, key: Key) -> Operation<'static, O> {
        let mut operation = Operation::made(op, None);
        (operation.loop_id, operation.key, operation.phase) = (loop_id, key, Phase::InFlight);
        operation
    }

    /// Ends it before its last completion, if its output is known.
    #[inline]
    pub(super) fn lend(&mut self) -> Option<Cqe> {
        let (loop_id, key, stop) = (self.loop_id, self.key, self.stop);
        let cqe = self.op().lend(loop_id, key, stop != Stop::No)?;
        // Who waits for the rest leaves a waker of its own.
        let take = |core: &context::Core| (core.id == loop_id).then(|| core.driver.borrow_mut().take_waker(key));
        let _taken = context::look(take);
        Some(self.ended(if cqe.cancelled() { Cqe::of(-stop.errno()) } else { cqe }))
    }
}

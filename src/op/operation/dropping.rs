//! What becomes of an operation whose future is dropped before it has ended.

use super::*;

impl<O: Op> Operation<'_, O> {
    #[cold]
    #[inline(never)]
    pub(super) fn drop_unfinished(&mut self) {
        if let Some(mut op) = self.op.take() {
            let lane = op.lane();
            let (loop_id, key) = (self.loop_id, self.key);
            match std::mem::replace(&mut self.phase, Phase::Finished) {
                Phase::Start | Phase::Finished => {
                    self.leave_progress(&mut op);
                    // Before the value goes, whose drop is the user's code and may panic.
                    self.give_way();
                }
                Phase::InFlight if context::current_id() == loop_id => self.drop_here(op, lane),
                Phase::InFlight => {
                    let handed = Handed::new(self.orphan(op, lane));
                    if let Err(Mail::Orphan(key, handed)) = registry::post(loop_id, Mail::Orphan(key, handed)) {
                        registry::abandon(loop_id, key, handed);
                    }
                }
                Phase::Elsewhere => self.drop_elsewhere(op, lane),
            }
        }
        self.give_way();
    }

    /// Gives up its place among those who wait, and the position.
    pub(super) fn give_way(&mut self) {
        self.leave_salvage();
        self.release_position();
        drop(self.rare.take());
    }

    pub(super) fn drop_elsewhere(&mut self, op: O, lane: Lane) {
        let orphan = self.orphan(op, lane);
        let cell = self.cell().clone();
        let _waker;
        let mut state = cell.inner.lock().unwrap_or_else(PoisonError::into_inner);
        _waker = state.waker.take();
        if state.lost {
            drop(state);
            orphan.lose();
        } else if let Some((earlier, cqe)) = state.result.take() {
            drop(state);
            orphan.finish(earlier, cqe);
        } else {
            state.orphan = Some(Handed::new(orphan));
            drop(state);
            // If the loop takes no mail any more, it finds the orphan when it leaves the result.
            let _ = registry::post(self.loop_id, Mail::Unwatch(self.key, cell));
        }
    }

    /// What an operation of several steps had moved before it was dropped between two of them is not lost either.
    pub(super) fn leave_progress(&self, op: &mut O) {
        op.forsake();
        if op.progress() > 0
            && let Some(salvage) = self.fd.map(Fd::salvage)
        {
            leave(op, salvage, Cqe::of(-libc::ECANCELED), 0, Key { index: 0, generation: 0 });
        }
    }

    pub(super) fn drop_here(&mut self, op: O, lane: Lane) {
        let key = self.key;
        let promised = op.is_promised();
        // The kernel may have it. Where the driver is borrowed (a buffer's method was called, and dropped this) there is a panic,
        // and the value is leaked.
        let op = ManuallyDrop::new(op);
        let dropped = context::with(|core| core.driver.borrow_mut().drop_future(key, promised));
        let dropped = dropped.expect("its loop is entered");
        let mut op = ManuallyDrop::into_inner(op);
        match dropped {
            Dropped::Voided(waker) => {
                self.leave_progress(&mut op);
                self.give_way();
                drop(waker);
            }
            Dropped::Done(earlier, cqe) => self.orphan(op, lane).finish(earlier, cqe),
            Dropped::InFlight => {
                let orphan = self.orphan(op, lane);
                let old = context::with(|core| core.driver.borrow_mut().adopt(key, orphan));
                drop(old);
            }
        }
    }

    /// Its loop has ended, and the kernel has not let go of it.
    pub(super) fn lost(&mut self) -> ! {
        self.phase = Phase::Finished;
        if let Some(op) = self.op.take() {
            // The kernel may still be at it: the value is leaked, never freed, and nobody waits for what it holds.
            let lane = op.lane();
            self.orphan(op, lane).lose();
        }
        self.leave_salvage();
        drop(self.rare.take());
        panic!(
            "ringtoss: the loop that this operation was submitted to has ended without the kernel letting go of the \
             operation; its buffer is leaked"
        )
    }

    pub(super) fn release_position(&mut self) {
        if let Some(salvage) = self.salvage()
            && let Some(rare) = &mut *self.rare
            && std::mem::take(&mut rare.holds_position)
        {
            salvage.free_position();
        }
    }

    pub(super) fn orphan(&mut self, mut op: O, lane: Lane) -> Box<dyn Orphan> {
        let (loop_id, key) = (self.loop_id, self.key);
        if let Some(rare) = &mut *self.rare {
            // From here on its place among the orphans holds the position.
            rare.holds_position = false;
        }
        let salvage = self.fd.filter(|_| lane.leaves_traces()).map(|fd| fd.salvage().clone());
        if let Some(salvage) = &salvage {
            salvage.orphaned(loop_id, key, lane, op.is_promised());
        }
        if lane == Lane::Datagram
            && let Some(fd) = self.fd
        {
            fd.hand_receiver_over(key);
        }
        op.orphaned(loop_id, key);
        op.abandon();
        Box::new(Orphaned { op, salvage, lane, loop_id, key })
    }
}

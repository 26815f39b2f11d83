//! Operations that are streams: one submission, completion after completion.

use super::super::turn::Shoots;
use super::*;

/// What a poll of an operation with several completions gives. Each has been handed to the operation.
pub(in crate::op) enum Shots {
    /// There is something, and more to come.
    Some,
    /// The last completion of a submission: it is idle now, and polled again, it is submitted again.
    Last(Cqe),
    /// It could not be submitted.
    Refused(i32),
}

impl<O: Shoots> Operation<'_, O> {
    /// The short way of almost all polls, while nothing waits to be taken: gives what the completion that has come brings, or finds that
    /// none has, and the waker where it was. `None` if only [`poll_shots`](Operation::poll_shots) can tell.
    #[inline(always)]
    pub(in crate::op) fn poll_shot(&mut self, waker: &Waker) -> Option<Poll<Option<O::Item>>> {
        debug_assert!(self.op().lane() != Lane::Accept, "those look for what others have left");
        if self.phase != Phase::InFlight || self.special {
            return None;
        }
        let (loop_id, key) = (self.loop_id, self.key);
        let look = |core: &context::Core| match core.id == loop_id {
            true => core.driver.borrow_mut().poll_earlier(key, waker),
            false => None,
        };
        match context::look(look).flatten()? {
            Poll::Ready(cqe) => Some(Poll::Ready(self.op().bring(cqe))),
            Poll::Pending => Some(Poll::Pending),
        }
    }
}

impl<O: Op> Operation<'_, O> {
    /// Submits it, if it is idle, or hands the next completion to it.
    pub(in crate::op) fn poll_shots(&mut self, cx: &mut Context<'_>) -> Poll<Shots> {
        loop {
            if self.phase == Phase::Start {
                match self.start(cx.waker()) {
                    Answer::Pending => {}
                    // What was salvaged has been handed over already.
                    Answer::Cqe(cqe) if self.op().progress() > 0 => return Poll::Ready(Shots::Last(cqe)),
                    Answer::Cqe(cqe) => return Poll::Ready(Shots::Refused(-cqe.result)),
                }
            } else {
                let answer =
                    if self.phase == Phase::InFlight { self.ask(cx.waker()) } else { self.look_elsewhere(cx.waker()) };
                if let Answer::Cqe(cqe) = answer {
                    let _ = self.op().step(cqe);
                    if cqe.more() {
                        return Poll::Ready(Shots::Some);
                    }
                    if self.stop == Stop::Salvaged && cqe.cancelled() {
                        // Something was salvaged for it: that is found when it begins again.
                        self.stop = Stop::No;
                        continue;
                    }
                    if cqe.cancelled() {
                        self.tell_other_accepts();
                    }
                    self.ended(cqe);
                    return Poll::Ready(Shots::Last(cqe));
                }
            }
            if self.receives_beside_others() {
                self.look_for_salvaged(cx.waker());
            }
            return Poll::Pending;
        }
    }
}

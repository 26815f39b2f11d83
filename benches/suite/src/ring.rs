//! What the raw limit and the generator share of the io-uring crate.

use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, squeue};

/// A ring taken apart, with its descriptor registered, which only a submitter that is kept makes use of.
pub struct Queues<'ring> {
    submitter: Submitter<'ring>,
    submission: SubmissionQueue<'ring>,
    completion: CompletionQueue<'ring>,
}

impl<'ring> Queues<'ring> {
    pub fn of(ring: &'ring mut IoUring) -> Queues<'ring> {
        let (mut submitter, submission, completion) = ring.split();
        let _ = submitter.register_ring_fd();
        Queues { submitter, submission, completion }
    }

    /// Stages an entry; hands what is staged to the kernel first if there is no room.
    ///
    /// # Safety
    /// What the entry points to must live until its completion has come.
    pub unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: passed on to the caller.
        while unsafe { self.submission.push(&entry) }.is_err() {
            self.submission.sync();
            let _ = self.submitter.submit();
            self.submission.sync();
        }
    }

    /// Submits everything, waits for a completion, and takes all that are there.
    pub fn turn(&mut self, completions: &mut Vec<cqueue::Entry>) {
        self.submission.sync();
        // EINTR and EBUSY: what was not taken goes with the next call.
        let _ = self.submitter.submit_and_wait(1);
        self.submission.sync();
        self.completion.sync();
        completions.extend(&mut self.completion);
        self.completion.sync();
    }

    /// Takes what else has come where one call hands out some twenty completions, on a ring with `setup_taskrun_flag`.
    pub fn drain(&mut self, completions: &mut Vec<cqueue::Entry>) {
        const GETEVENTS: u32 = 1;
        const CALLS_AT_MOST: u32 = 8;
        for _ in 0..CALLS_AT_MOST {
            if !self.submission.taskrun() {
                return;
            }
            // SAFETY: nothing is submitted, and there is no argument.
            let _ = unsafe { self.submitter.enter::<libc::sigset_t>(0, 0, GETEVENTS, None) };
            self.completion.sync();
            completions.extend(&mut self.completion);
            self.completion.sync();
        }
    }
}

/// Has a receive wait for data before it tries, where there is none yet: `IORING_RECVSEND_POLL_FIRST`, which the crate
/// does not offer.
pub fn poll_first(mut entry: squeue::Entry) -> squeue::Entry {
    const POLL_FIRST: u16 = 1;
    const IOPRIO_AT: usize = 2;
    const { assert!(size_of::<squeue::Entry>() == 64) };
    // SAFETY: an `Entry` is a `struct io_uring_sqe`, whose `ioprio` is the 16 bits at offset 2.
    unsafe { (&raw mut entry).cast::<u8>().add(IOPRIO_AT).cast::<u16>().write_unaligned(POLL_FIRST) };
    entry
}

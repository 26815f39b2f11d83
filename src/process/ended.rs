//! Waiting until a child has ended, without taking its status.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fd::Fd;
use crate::op::{Operation, PollAdd, WaitId};
use crate::sys::process::pidfd_open;

/// The kernel has been found to have no `IORING_OP_WAITID` (before 6.7).
static NOT_ON_THE_RING: AtomicBool = AtomicBool::new(false);

/// Waits until the child may have ended: look then. `pidfd` is kept for the next time.
pub(super) async fn ended(pid: u32, pidfd: &mut Option<Fd>) -> io::Result<()> {
    if !NOT_ON_THE_RING.load(Ordering::Relaxed) {
        match Operation::<WaitId>::new(WaitId::new(pid)).await {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => NOT_ON_THE_RING.store(true, Ordering::Relaxed),
            result => return result,
        }
    }
    by_descriptor(pid, pidfd).await
}

async fn by_descriptor(pid: u32, pidfd: &mut Option<Fd>) -> io::Result<()> {
    let pidfd = match pidfd {
        Some(pidfd) => pidfd,
        None => pidfd.insert(Fd::new(pidfd_open(pid)?)),
    };
    Operation::on(pidfd, PollAdd::new(pidfd.raw(), libc::POLLIN)).await
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// What kernels before 6.7 do.
    #[test]
    fn a_descriptor_tells_of_the_end_and_leaves_the_status() {
        crate::block_on(async {
            let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let mut pidfd = None;
            for _ in 0..3 {
                let mut waiting = Box::pin(by_descriptor(child.id(), &mut pidfd));
                let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx))).await;
                assert!(polled.is_pending());
            }
            drop(child.stdin.take());
            for _ in 0..2 {
                by_descriptor(child.id(), &mut pidfd).await.unwrap();
            }
            assert!(child.try_wait().unwrap().unwrap().success());
        });
    }
}

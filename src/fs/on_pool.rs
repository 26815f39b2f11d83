//! What the ring does not have: calls on the blocking pool.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::blocking;
use crate::fd::Fd;
use crate::salvage::{Salvage, Stake};
use crate::sys;

/// Makes a call that changes an open file, on a duplicate, which lives as long as the call. It waits for writes that were
/// dropped, and keeps its place among them until it has been made, also if nobody awaits it any more: what changes the file
/// next does not come before it.
pub(super) async fn change<T: Send + 'static>(
    fd: &Fd,
    call: impl FnOnce(&std::fs::File) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (file, stake) = stake(fd).await?;
    blocking::run(move || {
        let result = call(&file);
        drop(stake);
        result
    })
    .await
}

/// Waits for writes that were dropped; gives a duplicate of the file and a place among those.
pub(super) async fn stake(fd: &Fd) -> io::Result<(std::fs::File, Stake)> {
    let salvage: Arc<Salvage> = fd.salvage().clone();
    salvage.writes_settled().await;
    let file = std::fs::File::from(sys::duplicate(fd.raw())?);
    Ok((file, Stake::new(salvage)))
}

/// Whether somebody still awaits a call.
pub(super) struct Awaited(Arc<AtomicBool>);

impl Awaited {
    /// # Errors
    /// If nobody does: the call ends with it, and nobody sees it.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ECANCELED)) }
    }
}

/// Makes a call that takes long, and that looks now and then whether it is still awaited.
pub(super) async fn run_while_awaited<T: Send + 'static>(
    call: impl FnOnce(&Awaited) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    struct Waiting(Arc<AtomicBool>);
    impl Drop for Waiting {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
    let waiting = Waiting(Arc::new(AtomicBool::new(true)));
    let awaited = Awaited(waiting.0.clone());
    blocking::run(move || {
        awaited.check()?;
        call(&awaited)
    })
    .await
}

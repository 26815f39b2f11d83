//! Operations on objects that have to do with the table of files, or with several loops.

use std::task::Waker;

use super::Op;
use crate::driver::Driver;
use crate::fd::Fd;
use crate::slot::Key;

/// Submits on a loop that the descriptor is not simply at home on.
#[inline(never)]
pub(super) fn submit<O: Op>(
    op: &mut O,
    fd: &Fd,
    loop_id: u64,
    driver: &mut Driver,
    waker: Waker,
) -> Result<Key, (i32, Waker)> {
    let place = fd.visit(loop_id, driver);
    driver.submit(waker, |sqe, arena| {
        op.prepare(sqe, arena)?;
        if let Some(place) = place {
            sqe.name_place(fd.raw(), place);
        }
        Ok(())
    })
}

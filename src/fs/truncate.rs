//! `set_len`, also on kernels whose rings cannot truncate.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::on_pool;
use crate::fd::Fd;
use crate::op::{Ftruncate, Operation};

/// The kernel has been found to have no `IORING_OP_FTRUNCATE` (before 6.9).
static NOT_ON_THE_RING: AtomicBool = AtomicBool::new(false);

pub(super) async fn set_len(fd: &Fd, len: u64) -> io::Result<()> {
    if i64::try_from(len).is_err() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a length beyond 2^63 - 1"));
    }
    if NOT_ON_THE_RING.load(Ordering::Relaxed) {
        return on_the_pool(fd, len).await;
    }
    let result = Operation::on(fd, Ftruncate::new(fd.raw(), len)).await;
    match result {
        // Either the kernel does not know the opcode, or the call itself is invalid: the call tells which.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            on_the_pool(fd, len).await?;
            NOT_ON_THE_RING.store(true, Ordering::Relaxed);
            Ok(())
        }
        result => result,
    }
}

/// Also if nobody awaits it any more, it keeps its place: what it cuts off late is lost.
async fn on_the_pool(fd: &Fd, len: u64) -> io::Result<()> {
    on_pool::change(fd, move |file| file.set_len(len)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_truncates_and_keeps_its_place_when_it_is_dropped() {
        crate::block_on(async {
            let file =
                std::fs::File::create(std::env::temp_dir().join(format!("ringtoss-truncate-{}", std::process::id())));
            let fd = Fd::new(file.unwrap().into());
            on_the_pool(&fd, 1 << 33).await.unwrap();
            assert_eq!(
                std::fs::File::from(fd.borrow().try_clone_to_owned().unwrap()).metadata().unwrap().len(),
                1 << 33
            );
            for len in 0..100 {
                let mut call = Box::pin(on_the_pool(&fd, len));
                let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
                drop(call);
                if polled.is_pending() {
                    fd.salvage().writes_settled().await;
                }
                let file = std::fs::File::from(fd.borrow().try_clone_to_owned().unwrap());
                assert_eq!(file.metadata().unwrap().len(), len);
            }
        });
        std::fs::remove_file(std::env::temp_dir().join(format!("ringtoss-truncate-{}", std::process::id()))).unwrap();
    }
}

//! Tokio's context for futures that insist on one.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Handle};

use crate::sys::fork;

/// Runs a future in the context of a tokio runtime, wherever it is awaited: for libraries that need one (reqwest, sqlx,
/// tokio's own sockets and timers) on a `ringtoss` loop.
///
/// The future is polled here, by the loop; what it registers with tokio (sockets, timers) and what it spawns there is looked
/// after by a runtime on a thread of its own, which is started when first needed, serves the whole process and stays. So a task
/// may await this and operations of the loop, one after the other or at once. `Send` if the future is.
///
/// # What it costs
/// Each wait for one of tokio's sockets or timers is a wake-up from that thread: see `docs/porting.md` for figures. Where
/// most of a program's I/O is tokio's, a [`Guest`](super::Guest) is the better half.
///
/// # Cancellation
/// Dropping it drops the future, in the context, too.
///
/// # Panics
/// When it is first polled and no thread can be started, or no descriptor be had, for the runtime.
///
/// ```
/// use ringtoss::compat::tokio::in_context;
///
/// let bytes = ringtoss::block_on(async {
///     let (one, other) = in_context(async { tokio::net::UnixStream::pair() }).await?;
///     in_context(async move {
///         one.writable().await?;
///         one.try_write(b"by tokio")?;
///         other.readable().await?;
///         let mut bytes = [0; 8];
///         other.try_read(&mut bytes)?;
///         std::io::Result::Ok(bytes)
///     })
///     .await
/// })?;
/// assert_eq!(&bytes, b"by tokio");
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn in_context<F: Future>(future: F) -> F::Output {
    let runtime = side_runtime().unwrap_or_else(|error| panic!("ringtoss: no tokio runtime can be started: {error}"));
    in_context_of(&runtime, future).await
}

/// The same in the context of a runtime of yours, which must be running: a multi-threaded one runs by itself, a current-thread
/// one while a thread is in its `block_on`.
///
/// # Cancellation
/// As [`in_context`].
pub async fn in_context_of<F: Future>(runtime: &Handle, future: F) -> F::Output {
    let mut inside = Inside { runtime, future: pin!(Some(future)) };
    poll_fn(|cx| {
        let _context = inside.runtime.enter();
        inside.future.as_mut().as_pin_mut().expect("it is there until it is dropped").poll(cx)
    })
    .await
}

/// Has the future dropped in the context, too.
struct Inside<'a, F> {
    runtime: &'a Handle,
    future: Pin<&'a mut Option<F>>,
}

impl<F> Drop for Inside<'_, F> {
    fn drop(&mut self) {
        let _context = self.runtime.enter();
        self.future.set(None);
    }
}

/// The process's runtime for those that bring none.
fn side_runtime() -> io::Result<Handle> {
    /// And the process in which its thread is.
    static RUNTIME: Mutex<Option<(u32, Handle)>> = Mutex::new(None);
    let mut started = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let here = fork::generation();
    match &*started {
        Some((process, handle)) if *process == here => return Ok(handle.clone()),
        // The parent's, which is not to be ended here.
        Some(_) => std::mem::forget(started.take()),
        None => {}
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("ringtoss-tokio".to_string())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(started.insert((here, handle)).1.clone())
}

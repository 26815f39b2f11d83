//! L3: pools of registered buffers on the loop: `io_uring_register(2)` with `IORING_REGISTER_BUFFERS2` and
//! `IORING_REGISTER_BUFFERS_UPDATE`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::buf::{Region, RegisteredBuf, RegisteredMemory, RegisteredPool, RegisteredPoolBuilder, TakeRegistered};
use crate::context::{self, NO_LOOP};
use crate::guard::guard;
use crate::mail::Mail;
use crate::registry;

impl RegisteredPoolBuilder {
    /// Has the memory in huge pages, where the system gives any (`madvise(2)`, `MADV_HUGEPAGE`): fewer pages to walk
    /// through with each transfer. Off by default.
    pub fn huge_pages(mut self, on: bool) -> Self {
        self.huge_pages = on;
        self
    }

    /// Makes the first buffers and registers them with the loop that runs on this thread.
    ///
    /// # Errors
    /// As [`RegisteredPool::new`].
    ///
    /// # Panics
    /// Where no loop runs, and for buffers of more than 1 GiB.
    pub fn build(&self) -> io::Result<RegisteredPool> {
        let inner = RegisteredMemory::new(self.buffer_bytes, self.most, self.huge_pages, release);
        let pool = RegisteredPool { inner: Arc::new(inner) };
        grow(&pool.inner)?;
        Ok(pool)
    }
}

impl RegisteredPool {
    /// A pool of up to `most` buffers of `buffer_bytes` each (rounded up to a multiple of 4,096), whose pages the kernel
    /// looks up and pins once, when they are registered, instead of with each transfer. Reads and writes of files with
    /// them go by `IORING_OP_READ_FIXED` and `IORING_OP_WRITE_FIXED`, vectored ones of buffers that lie in one piece of
    /// memory by `READV_FIXED` and `WRITEV_FIXED` if the file was opened with `O_DIRECT` (Linux 6.15), and sends without
    /// copying spare the pinning. All other operations take them, too, as plain buffers.
    ///
    /// The first megabyte is made and registered here, more when it is asked for. What is registered counts against
    /// `RLIMIT_MEMLOCK` of users without `CAP_IPC_LOCK`. It is given back when the pool and all of its buffers are gone.
    ///
    /// The loop that runs here knows the buffers; on others they are plain ones, until [`register`](RegisteredPool::register)
    /// is called there.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::buf::RegisteredPool;
    /// use ringtoss::fs::File;
    ///
    /// let pool = RegisteredPool::new(16 * 1024, 64)?;
    /// let file = File::open("/proc/self/exe").await?;
    /// let (result, buf) = file.read_at(pool.take().await?, 0).await;
    /// assert_eq!(result?, buf.len());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `OutOfMemory` that names the limit, or if there is no memory; those of `io_uring_register(2)`.
    ///
    /// # Panics
    /// Where no loop runs, and for buffers of more than 1 GiB.
    pub fn new(buffer_bytes: usize, most: usize) -> io::Result<RegisteredPool> {
        RegisteredPool::builder(buffer_bytes, most).build()
    }

    /// The same with further choices.
    pub fn builder(buffer_bytes: usize, most: usize) -> RegisteredPoolBuilder {
        RegisteredPoolBuilder { buffer_bytes, most, huge_pages: false }
    }

    /// Registers what there is of it with the loop that runs here, too, where its buffers are plain ones otherwise. The pages
    /// count against the limit once more. What is made later is known to the loop on which it is made.
    ///
    /// # Errors
    /// As [`new`](RegisteredPool::new); `QuotaExceeded` if 16 loops know it already.
    ///
    /// # Panics
    /// Where no loop runs.
    pub fn register(&self) -> io::Result<()> {
        let regions: Vec<Arc<Region>> =
            self.inner.lock().regions.iter().filter_map(|region| region.upgrade()).collect();
        regions.iter().try_for_each(|region| register(region))
    }

    /// An empty buffer, for which it waits if all of them are in use: who has waited longest is served first. Dropped, it has
    /// taken nothing. Makes more of them if there may be more and a loop runs here, which takes the time to pin them; if
    /// they cannot be made, it waits for those that there are.
    ///
    /// # Errors
    /// As [`new`](RegisteredPool::new), if there are none at all.
    pub fn take(&self) -> TakeRegistered<'_> {
        TakeRegistered { pool: self, ticket: None }
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if all of them are in use, or promised to those who wait.
    pub fn try_take(&self) -> io::Result<RegisteredBuf> {
        self.attempt(None).unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// How many bytes each has.
    pub fn buffer_bytes(&self) -> usize {
        self.inner.buffer_bytes
    }

    /// How many there can be.
    pub fn most(&self) -> usize {
        self.inner.most
    }

    fn attempt(&self, ticket: Option<u64>) -> Option<io::Result<RegisteredBuf>> {
        loop {
            let mut state = self.inner.lock();
            if let Some(buf) = self.inner.take(&mut state, ticket) {
                return Some(Ok(buf));
            }
            // Only a loop can make more.
            if !self.inner.can_grow(&state) || context::current_id() == 0 {
                return None;
            }
            drop(state);
            if let Err(error) = grow(&self.inner) {
                // Those that there are come back.
                return if self.inner.lock().has_any() { None } else { Some(Err(error)) };
            }
        }
    }
}

impl Future for TakeRegistered<'_> {
    type Output = io::Result<RegisteredBuf>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<RegisteredBuf>> {
        if let Some(outcome) = self.pool.attempt(self.ticket) {
            self.leave();
            return Poll::Ready(outcome);
        }
        let waker = cx.waker().clone();
        let pool = &self.pool.inner;
        let mut ticket = self.ticket;
        let mut state = pool.lock();
        // Once more: one may have come back meanwhile.
        let taken = pool.take(&mut state, ticket);
        let old = match taken {
            Some(_) => Some(waker),
            None => RegisteredMemory::queue(&mut state, &mut ticket, waker),
        };
        drop(state);
        drop(old);
        self.ticket = ticket;
        if taken.is_some() {
            self.leave();
        }
        taken.map_or(Poll::Pending, |buf| Poll::Ready(Ok(buf)))
    }
}

impl Drop for TakeRegistered<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl TakeRegistered<'_> {
    /// Gives up its place in the queue.
    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let [own, next] = self.pool.inner.leave(ticket);
            drop(own);
            if let Some(waker) = next {
                guard(|| waker.wake());
            }
        }
    }
}

/// Makes more buffers, unless others were faster.
fn grow(pool: &Arc<RegisteredMemory>) -> io::Result<()> {
    let mut state = pool.lock();
    if !pool.can_grow(&state) {
        return Ok(());
    }
    pool.grow(&mut state, register).unwrap_or_else(|| Err(io::ErrorKind::OutOfMemory.into()))
}

/// Makes a region known to the loop that runs here.
fn register(region: &Region) -> io::Result<()> {
    context::with(|core| {
        if region.index_on(core.id).is_some() {
            return Ok(());
        }
        let (address, bytes) = region.memory();
        let mut driver = core.driver.borrow_mut();
        let index = driver.register_memory(address, bytes)?;
        region.add_home(core.id, index).map_err(|()| {
            driver.unregister_memory(index);
            io::Error::new(io::ErrorKind::QuotaExceeded, "16 loops know this pool already")
        })
    })
    .unwrap_or_else(|| panic!("{NO_LOOP}"))
}

/// A region is gone: a loop may use its index for another.
fn release(loop_id: u64, index: u16) {
    let here = context::with(|core| (core.id == loop_id).then(|| core.driver.borrow_mut().unregister_memory(index)));
    if here.flatten().is_none() {
        // With a loop that has ended its table is gone.
        let _ = registry::post(loop_id, Mail::UnregisterMemory(index));
    }
}

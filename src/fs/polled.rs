//! Asking the device whether a transfer is done, instead of being interrupted by it.

use std::io;

use super::File;
use crate::op::invalid;
use crate::sys;

/// # Polled transfers
impl File {
    /// Has the device asked again and again whether transfers are done, instead of waiting for its interrupt
    /// (`IORING_SETUP_IOPOLL`, see `io_uring_setup(2)`): [`read_at`](File::read_at), [`read_exact_at`](File::read_exact_at),
    /// [`write_at`](File::write_at) and [`write_all_at`](File::write_all_at) of this file, and of clones that are made from
    /// now on. Off by default.
    ///
    /// That saves an interrupt and a wake-up, some microseconds, for each transfer of a fast device, and costs a CPU: **while such
    /// a transfer is under way the loop does not sleep**, but enters the kernel with every turn to ask. Tasks, timers, other
    /// operations and other threads' wakes go on as ever. So it is for a loop with a CPU of its own whose device answers in
    /// microseconds. It is not combined with registered memory, which is used as any other, nor with a
    /// [place](File::register) in the ring's table, which is left.
    ///
    /// It wants a file on a block device (or the device itself) that is opened with `O_DIRECT`
    /// ([`OpenOptions::custom_flags`](super::OpenOptions::custom_flags)), and a driver with queues for it: `nvme` has them with
    /// its parameter `poll_queues`. Where the kernel refuses, transfers go the ordinary way, and the file remembers that:
    /// [`iopoll`](File::iopoll) is false from then on. (Kernels before 6.10 or so take transfers for devices without
    /// such queues, wait for the interrupt, and are asked all the same.) A loop that is a [guest](crate::compat::Guest) does not
    /// poll, because its host waits for a descriptor. Buffers of several parts, leases, chains, flags
    /// ([`RwFlags`](super::RwFlags)) and transfers at the file's position go the ordinary way.
    ///
    /// The kernel cannot cancel a polled transfer: a time limit gives the buffer back when the device is done, and
    /// a dropped one is kept until then, also by a loop that ends. It is not submitted if it is dropped within the same turn.
    ///
    /// # Errors
    /// `InvalidInput` if the file was not opened with `O_DIRECT`; those of `fcntl(2)`.
    ///
    /// ```no_run
    /// # ringtoss::block_on(async {
    /// use ringtoss::buf::AlignedBuf;
    /// use ringtoss::fs::OpenOptions;
    ///
    /// let disk = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open("/dev/nvme0n1").await?;
    /// disk.set_iopoll(true)?;
    /// let (result, block) = disk.read_at(AlignedBuf::with_capacity(4096), 0).await;
    /// println!("{} bytes, {}", result?, if disk.iopoll() { "asked for" } else { "by interrupt" });
    /// # drop(block);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_iopoll(&self, iopoll: bool) -> io::Result<()> {
        if iopoll && sys::status_flags(self.fd.raw())? & libc::O_DIRECT == 0 {
            return Err(invalid("the device is asked whether transfers are done only of a file opened with O_DIRECT"));
        }
        self.fd.set_polled(iopoll);
        Ok(())
    }

    /// Whether the device is asked whether transfers are done: that was wanted with [`set_iopoll`](File::set_iopoll), and has
    /// not been refused so far. [`Metrics::polled_transfers`](crate::Metrics::polled_transfers) counts them.
    pub fn iopoll(&self) -> bool {
        self.fd.is_polled() && !self.fd.salvage().is_polling_refused()
    }
}

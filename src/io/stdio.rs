//! Standard input, output and error, whatever they are: terminals, pipes, files, devices.
//!
//! The descriptors 0 to 2 belong to the process, and their open files mostly to other processes, too. So they are used as
//! they are: not duplicated, never closed, and nothing is set on them, `O_NONBLOCK` least of all. All handles of one of them
//! are the same object, so that what a dropped read has left is found by whoever reads next.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, LazyLock};

use crate::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use crate::fd::{Fd, HasFd};
use crate::op::{All, Operation, PollAdd, Read, ReadToEnd, Readv, Write, Writev};
use crate::salvage::Salvage;
use crate::sys;

/// The three, for as long as the process lives.
static STREAMS: LazyLock<[Fd; 3]> = LazyLock::new(|| {
    let mut cells: Vec<Arc<Salvage>> = Vec::new();
    for fd in 0..3 {
        // Output and error often are one open file, with one position, at which one writes after the other.
        let shared = (0..fd).find(|&other| sys::has_position(fd) && sys::same_open_file(fd, other));
        let cell = shared.map_or_else(Arc::default, |other| cells[other as usize].clone());
        // Twice, because there may be many handles: they take turns, as clones of a file do.
        cell.add_descriptor(fd);
        cell.add_descriptor(fd);
        cells.push(cell);
    }
    let mut cells = cells.into_iter();
    [0, 1, 2].map(|fd| Fd::of_the_process(fd, cells.next().expect("one for each")))
});

/// A handle to the process's standard input: made by [`stdin`].
///
/// It reads without a buffer of its own: nothing is read ahead, and what `std::io::stdin` has read ahead is not seen here.
/// Several handles may be there, and may read, but which of them gets what is not said.
#[derive(Debug)]
pub struct Stdin {
    fd: &'static Fd,
}

/// The process's standard input.
///
/// A read waits in the kernel, not in a thread, also for a terminal: a program that ends does not wait for a line that nobody
/// types.
///
/// ```no_run
/// # ringtoss::block_on(async {
/// let (result, line) = ringtoss::io::stdin().read(Vec::with_capacity(4096)).await;
/// println!("{} bytes: {}", result?, String::from_utf8_lossy(&line));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub fn stdin() -> Stdin {
    Stdin { fd: &STREAMS[0] }
}

impl Stdin {
    /// Reads up to the buffer's capacity into its start: `IORING_OP_READ`, `read(2)`. The buffer's length is the number of
    /// bytes read, 0 at the end; of a terminal that is a line. Dropped early, it has not happened: the next read, of whatever
    /// handle, gives the bytes; of a file, the position is moved back.
    ///
    /// # Errors
    /// Those of std; `InvalidInput` for a buffer without capacity. The buffer comes back.
    pub fn read<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Read<B>> {
        Operation::on(self.fd, Read::some(self.fd, buf))
    }

    /// Reads behind what the buffer holds, up to its capacity, and gives the number of bytes read: `IORING_OP_READ`,
    /// `read(2)`. Dropped early it is as [`read`](Stdin::read).
    ///
    /// # Errors
    /// Those of std; `InvalidInput` for a full buffer. The buffer comes back.
    pub fn read_append<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Read<B>> {
        Operation::on(self.fd, Read::append(self.fd, buf))
    }

    /// Reads exactly `len` bytes into the buffer's start: `IORING_OP_READ`, `read(2)`, as often as needed. Dropped early it
    /// is as [`read`](Stdin::read), with all that it had read.
    ///
    /// # Errors
    /// `UnexpectedEof` if the end comes before that; `InvalidInput` if the capacity is less; those of std. The buffer comes
    /// back with what was read, which counts as read.
    pub fn read_exact<B: IoBufMut>(&mut self, buf: B, len: usize) -> Operation<'_, Read<B>> {
        Operation::on(self.fd, Read::exact(self.fd, buf, len))
    }

    /// Reads into several buffers, each filled before the next: `IORING_OP_READV`, `readv(2)`. At most 1,024 of them are
    /// used. Dropped early it is as [`read`](Stdin::read).
    ///
    /// # Errors
    /// As [`read`](Stdin::read).
    pub fn read_vectored<V: IoVecBufMut>(&mut self, bufs: V) -> Operation<'_, Readv<V>> {
        Operation::on(self.fd, Readv::at_position(self.fd, bufs))
    }

    /// Reads all that comes until the end behind what the vector holds, and gives the number of bytes read:
    /// `IORING_OP_READ`, `read(2)`. Dropped early it is as [`read`](Stdin::read), with all that it had read.
    ///
    /// # Errors
    /// Those of std, `OutOfMemory` among them. The vector comes back with what was read, which counts as read.
    pub fn read_to_end(&mut self, buf: Vec<u8>) -> Operation<'_, ReadToEnd> {
        Operation::on(self.fd, ReadToEnd::new(self.fd, buf))
    }

    /// Waits until there is something to read, or the end: `IORING_OP_POLL_ADD`, `poll(2)`. What a dropped read has left
    /// counts. Dropped early, nothing has happened.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn readable(&self) -> Operation<'_, PollAdd> {
        Operation::on(self.fd, PollAdd::readable(self.fd.raw()))
    }
}

/// What both outputs do.
macro_rules! output {
    ($name:ident) => {
        impl $name {
            /// Writes the buffer and gives the number of bytes taken: `IORING_OP_WRITE`, `write(2)`. Dropped early, it may
            /// have been taken in part; the next write, of whatever handle, waits until that is decided, and
            #[doc = concat!("[`take_dropped_write`](", stringify!($name), "::take_dropped_write) tells.")]
            ///
            /// # Errors
            /// Those of std: `BrokenPipe`, `StorageFull`, …. The buffer comes back.
            pub fn write<B: IoBuf>(&mut self, buf: B) -> Operation<'_, Write<B>> {
                Operation::on(self.fd, Write::some(self.fd, buf))
            }

            /// Writes all of the buffer: `IORING_OP_WRITE`, `write(2)`, as often as needed. Dropped early it is as
            #[doc = concat!("[`write`](", stringify!($name), "::write).")]
            ///
            /// # Errors
            /// `WriteZero` if nothing more is taken; those of std. The buffer comes back; how much was written is told only
            /// of an operation that was cut short (see [`transferred`](crate::op::transferred)).
            pub fn write_all<B: IoBuf>(&mut self, buf: B) -> Operation<'_, All<Write<B>>> {
                Operation::on(self.fd, Write::all(self.fd, buf))
            }

            /// Writes several buffers, one after the other, and gives the number of bytes taken: `IORING_OP_WRITEV`,
            /// `writev(2)`. At most 1,024 of them are used. Dropped early it is as
            #[doc = concat!("[`write`](", stringify!($name), "::write).")]
            ///
            /// # Errors
            #[doc = concat!("As [`write`](", stringify!($name), "::write). The buffers come back.")]
            pub fn write_vectored<V: IoVecBuf>(&mut self, bufs: V) -> Operation<'_, Writev<V>> {
                Operation::on(self.fd, Writev::at_position(self.fd, bufs))
            }

            /// What became of the last write that was dropped in flight: how many bytes the kernel took, or the error that
            /// it met. Waits until it is known. `None` if no write was dropped since the last call, or not before the kernel
            /// had it.
            pub async fn take_dropped_write(&self) -> Option<std::io::Result<usize>> {
                self.fd.take_dropped_write().await
            }
        }
    };
}

/// A handle to the process's standard output: made by [`stdout`].
///
/// It writes without a buffer, so there is nothing to flush. What std's `print!` has in its buffer comes later, or earlier.
/// Where the output is a regular file that is not open for appending, nothing should be printed through std while a write of
/// this one is in flight: both write at the file's position, and one may overwrite the other.
#[derive(Debug)]
pub struct Stdout {
    fd: &'static Fd,
}

/// The process's standard output.
///
/// ```
/// # ringtoss::block_on(async {
/// ringtoss::io::stdout().write_all("hello\n").await.0?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub fn stdout() -> Stdout {
    Stdout { fd: &STREAMS[1] }
}

output!(Stdout);

/// A handle to the process's standard error: made by [`stderr`]. See [`Stdout`].
#[derive(Debug)]
pub struct Stderr {
    fd: &'static Fd,
}

/// The process's standard error.
pub fn stderr() -> Stderr {
    Stderr { fd: &STREAMS[2] }
}

output!(Stderr);

macro_rules! descriptor {
    ($name:ident) => {
        /// For calls that this crate does not wrap; they are not ordered with operations of the handles.
        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.fd.borrow()
            }
        }

        impl HasFd for $name {
            fn ring_fd(&self) -> &Fd {
                self.fd
            }
        }

        /// As for [`AsFd`].
        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.fd.raw()
            }
        }
    };
}

descriptor!(Stdin);
descriptor!(Stdout);
descriptor!(Stderr);

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Stdin>();
    send_and_sync::<Stdout>();
    send_and_sync::<Stderr>();
};

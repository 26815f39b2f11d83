//! From a path to a descriptor and back: `IORING_OP_OPENAT`, `IORING_OP_STATX`, `IORING_OP_CLOSE`.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use super::{Arena, At, Cqe, Link, Name, Next, Op, Operation, Sealed, Sqe};
use crate::context;
use crate::fd::Fd;
use crate::ring::ASYNC;
use crate::sys;

/// A path as the kernel takes it, or why it cannot be one.
pub(crate) type KernelPath = Result<Cow<'static, CStr>, &'static str>;

/// How often an open is tried again whose path changes under the look-up.
const CHANGES_AT_MOST: u32 = 64;

/// Copies a path out, so that it may live as long as the operation.
pub(crate) fn kernel_path(path: &Path) -> KernelPath {
    match CString::new(path.as_os_str().as_bytes()) {
        Ok(path) => Ok(Cow::Owned(path)),
        Err(_) => Err("file name contained an unexpected NUL byte"),
    }
}

/// What is made of a descriptor that was opened.
pub trait Opened: 'static {
    /// Wraps it.
    fn opened(fd: OwnedFd) -> Self;
}

/// `IORING_OP_OPENAT`: `openat(2)`. A file that is opened after its future was dropped is closed again.
#[doc(alias = "IORING_OP_OPENAT")]
pub struct OpenAt<F> {
    path: Name,
    flags: i32,
    mode: u32,
    /// `RESOLVE_*` of `openat2(2)`.
    resolve: u64,
    /// How often the path was found to be changing under the look-up.
    changing: u32,
    waits: bool,
    _makes: PhantomData<fn() -> F>,
}

impl<F> std::fmt::Debug for OpenAt<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAt").field("path", &self.path).field("flags", &self.flags).finish_non_exhaustive()
    }
}

impl<F> OpenAt<F> {
    pub(crate) fn new(path: Name, flags: i32, mode: u32) -> OpenAt<F> {
        OpenAt::resolving(path, flags, mode, 0)
    }

    /// One with restrictions on the path: `RESOLVE_*` of `openat2(2)`.
    pub(crate) fn resolving(path: Name, flags: i32, mode: u32, resolve: u64) -> OpenAt<F> {
        // `openat2` refuses what it does not know, and that flag beside `O_PATH`.
        let large = if flags & libc::O_PATH == 0 { libc::O_LARGEFILE } else { 0 };
        let flags = flags | libc::O_CLOEXEC | large;
        OpenAt { path, flags, mode, resolve, changing: 0, waits: false, _makes: PhantomData }
    }

    /// One that fails with `InvalidInput` and this reason.
    pub(crate) fn refused(reason: &'static str) -> OpenAt<F> {
        OpenAt::new(Name::of(At::Cwd, Err(reason)), 0, 0)
    }

    /// Writes the entry for a file that gets a number, or one that gets this place of the ring's table instead.
    pub(super) fn prepare_into(&mut self, place: Option<u32>, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        let path = self.path.address()?;
        // What has no number cannot be inherited, and the kernel refuses to be told so.
        let flags = if place.is_some() { self.flags & !libc::O_CLOEXEC } else { self.flags };
        let entry = if self.resolve == 0 {
            Sqe::new(io_uring::opcode::OpenAt::CODE).len(self.mode).op_flags(flags as u32)
        } else {
            // It does not take a mode that is of no use.
            let creates = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
            let mode = if creates { u64::from(self.mode & 0o7777) } else { 0 };
            // `struct open_how` of `linux/openat2.h`.
            let how = [flags as u32 as u64, mode, self.resolve];
            Sqe::new(io_uring::opcode::OpenAt2::CODE).len(size_of_val(&how) as u32).offset(arena.store(how))
        };
        let index = place.map_or(0, |place| place + 1);
        let flags = if self.waits { ASYNC } else { 0 };
        *sqe = entry.fd(self.path.raw()).addr(path).flags(flags).file_index(index);
        Ok(())
    }

    /// What came of it: a number, or nothing that means anything if it was opened into a place.
    pub(super) fn result(&self, cqe: Cqe) -> io::Result<i32> {
        match (self.path.reason(), cqe.ok()) {
            (Some(reason), Err(error)) if error.kind() == io::ErrorKind::InvalidInput => Err(invalid(reason)),
            (_, result) => result.map(|_| cqe.result),
        }
    }

    /// The look-up met a `..` while something was renamed or mounted, and cannot tell where that leads. Not for ever: whoever
    /// keeps renaming is not to keep us.
    fn found_changing(&mut self, cqe: Cqe) -> bool {
        let changing = cqe.result == -libc::EAGAIN
            && self.resolve & (libc::RESOLVE_BENEATH | libc::RESOLVE_IN_ROOT) != 0
            && self.resolve & libc::RESOLVE_CACHED == 0
            && self.changing < CHANGES_AT_MOST;
        self.changing += u32::from(changing);
        changing
    }

    /// The kernel first tries to open without waiting. For a FIFO without readers that is an error, where a plain
    /// `open(2)` waits for one.
    fn found_no_reader(&self, cqe: Cqe) -> bool {
        cqe.result == -libc::ENXIO
            && !self.waits
            && self.flags & libc::O_ACCMODE == libc::O_WRONLY
            && self.flags & libc::O_NONBLOCK == 0
    }
}

impl<F> Sealed for OpenAt<F> {}

// SAFETY: the path's bytes are on the heap and stay put while the value is moved; the rest is in the arena and read while
// the entry is taken.
unsafe impl<F: Opened> Op for OpenAt<F> {
    type Output = io::Result<F>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.prepare_into(None, sqe, arena)
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if cqe.interrupted() || self.found_changing(cqe) {
            return Next::Again;
        }
        if self.found_no_reader(cqe) {
            self.waits = true;
            return Next::Again;
        }
        Next::Done(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<F> {
        self.result(cqe).map(|fd| F::opened(sys::own(fd)))
    }
}

/// The error of a call that could not be made for this reason.
pub(crate) fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

/// What is made of the kernel's answer to [`Statx`].
pub trait FromStatx: 'static {
    /// Takes the answer.
    #[doc(hidden)]
    fn from_statx(answer: Box<libc::statx>) -> Self;
}

/// A bare descriptor, closed where it is dropped.
impl Opened for Fd {
    fn opened(fd: OwnedFd) -> Fd {
        Fd::new(fd)
    }
}

/// `IORING_OP_STATX`: `statx(2)`, of a path or of an open file.
#[doc(alias = "IORING_OP_STATX")]
pub struct Statx<M> {
    /// In place of where the path starts: a file, or a directory that is kept open by its owner.
    fd: Option<RawFd>,
    path: Name,
    flags: i32,
    mask: u32,
    answer: Box<libc::statx>,
    _makes: PhantomData<fn() -> M>,
}

impl<M> std::fmt::Debug for Statx<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statx").field("fd", &self.fd).field("path", &self.path).finish_non_exhaustive()
    }
}

impl<M> Statx<M> {
    /// Of what a path names; of a link itself if it is not to be followed.
    pub(crate) fn path(path: Name, follow: bool) -> Statx<M> {
        let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        Statx::made(None, path, flags)
    }

    /// Of an open directory.
    pub(crate) fn directory(dir: Arc<OwnedFd>) -> Statx<M> {
        Statx::made(None, Name::itself(dir), libc::AT_EMPTY_PATH)
    }

    /// Of a name in an open directory, of a link itself. The directory stays open until this is done.
    pub(crate) fn name(directory: RawFd, name: CString) -> Statx<M> {
        Statx::made(Some(directory), Name::of(At::Cwd, Ok(Cow::Owned(name))), libc::AT_SYMLINK_NOFOLLOW)
    }

    /// Of an open file.
    pub(crate) fn open_file(fd: RawFd) -> Statx<M> {
        Statx::made(Some(fd), Name::fixed(At::Cwd, c""), libc::AT_EMPTY_PATH)
    }

    /// Other fields than those that std knows (`STATX_*`), and further flags (`AT_*`).
    pub(crate) fn asking(self, mask: u32, flags: i32) -> Statx<M> {
        Statx { mask, flags: self.flags | flags, ..self }
    }

    fn made(fd: Option<RawFd>, path: Name, flags: i32) -> Statx<M> {
        // SAFETY: the structure is plain numbers, for which zero is valid.
        let answer = Box::new(unsafe { std::mem::zeroed() });
        let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
        Statx { fd, path, flags, mask, answer, _makes: PhantomData }
    }
}

impl<M> Sealed for Statx<M> {}

// SAFETY: path and answer are on the heap and stay put while the value is moved.
unsafe impl<M: FromStatx> Op for Statx<M> {
    type Output = io::Result<M>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let path = self.path.address()?;
        *sqe = Sqe::new(io_uring::opcode::Statx::CODE)
            .fd(self.fd.unwrap_or(self.path.raw()))
            .addr(path)
            .len(self.mask)
            .offset(&raw mut *self.answer as u64)
            .op_flags(self.flags as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<M> {
        match (self.path.reason(), cqe.ok()) {
            (Some(reason), Err(error)) if error.kind() == io::ErrorKind::InvalidInput => Err(invalid(reason)),
            (_, result) => result.map(|_| M::from_statx(self.answer)),
        }
    }
}

/// `IORING_OP_CLOSE`: `close(2)`, with its error. Dropped before it was submitted, it closes all the same.
#[doc(alias = "IORING_OP_CLOSE")]
#[derive(Debug)]
pub struct Close {
    fd: Fd,
    /// Whether a cancellation tells that the kernel has not got to it, so that dropping the descriptor closes it. Otherwise it may
    /// be the word of a file system (FUSE) that was told of the close, and to close the number once more would be somebody else's
    /// loss.
    may_be_left: bool,
    linked: bool,
}

impl Close {
    pub(crate) fn new(fd: Fd) -> Close {
        Close { fd, may_be_left: true, linked: false }
    }
}

impl Sealed for Close {}

// SAFETY: the entry holds no address.
unsafe impl Op for Close {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let flags = if self.fd.lingers() { ASYNC } else { 0 };
        // What lingers is a socket, and waits for a worker thread. So does what a chain comes to late.
        self.may_be_left = self.fd.lingers() || self.linked;
        *sqe = Sqe::new(io_uring::opcode::Close::CODE).fd(self.fd.raw()).flags(flags);
        Ok(())
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        if cqe.was_not_made() && self.may_be_left {
            return Ok(());
        }
        // The number is free already, even after an error.
        self.fd.forget();
        cqe.ok().map(drop)
    }

    fn abandon(&mut self) {
        self.may_be_left = true;
    }
}

impl Link for Close {
    fn join(&mut self) {
        self.linked = true;
    }
}

/// Closes an object's descriptor and tells the error: waits for writes that were dropped, gives up everything else that
/// was, and closes through the ring. Away from its home, or used by several loops, it is closed soon, and errors are lost.
pub(crate) async fn close(fd: Fd) -> io::Result<()> {
    if let Some(salvage) = fd.salvage_if_made() {
        let salvage = salvage.clone();
        salvage.writes_settled().await;
    }
    if !fd.is_at_home() || context::current_id() == 0 {
        drop(fd);
        return Ok(());
    }
    fd.cancel_orphans();
    while fd.end_chains() {
        round().await;
    }
    fd.retire();
    let closed = Operation::<Close>::new(Close::new(fd)).await;
    if context::with(|core| core.driver.borrow().has_thread()) == Some(true) {
        // That has let go of the file when it takes the next entry: see `Driver::let_thread_settle`.
        round().await;
    }
    closed
}

/// Once to the kernel and back. Seldom needed, and boxed, so that no other close carries it.
#[cold]
#[inline(never)]
fn round() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async { drop(super::nop().await) })
}

impl<F: Opened> Link for OpenAt<F> {}

impl<M: FromStatx> Link for Statx<M> {}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    /// A file system may give that error when it is told of a close. The number is somebody else's by then.
    #[test]
    fn a_close_that_the_kernel_has_made_is_not_made_again() {
        let close = || {
            let (reader, writer) = std::io::pipe().unwrap();
            (writer, reader.as_raw_fd(), Close::new(Fd::new(reader.into())))
        };
        let is_closed = |writer: &std::io::PipeWriter| sys::is_ready(writer.as_raw_fd(), 0);
        let cancelled = Cqe::of(-libc::ECANCELED);
        let (writer, number, mut made) = close();
        made.prepare(&mut Sqe::new(0), &mut Arena::default()).unwrap();
        assert_eq!(made.complete(cancelled).unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        assert!(!is_closed(&writer));
        drop(sys::own(number));
        // One that the loop has refused, and one that was cancelled because its future was dropped.
        for abandoned in [false, true] {
            let (writer, _, mut left) = close();
            if abandoned {
                left.prepare(&mut Sqe::new(0), &mut Arena::default()).unwrap();
                left.abandon();
            }
            left.complete(cancelled).unwrap();
            assert!(is_closed(&writer));
        }
    }
}

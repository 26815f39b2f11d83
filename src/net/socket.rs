//! What sockets of all families do, on their descriptor.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use crate::convert::ConvertError;
use crate::fd::Fd;
use crate::op::{
    self, Accept, Accepted, All, Incoming, Operation, Place, PollAdd, ReadToEnd, Readv, Receive, Receiving, Recv, Send,
    Writev,
};
use crate::salvage::Datagram;
use crate::sys;

// ---- streams --------------------------------------------------------------------------------------------------

pub(super) fn recv<B: IoBufMut>(fd: &Fd, buf: B) -> Operation<'_, Recv<B>> {
    Operation::on(fd, Recv::some(fd.raw(), buf))
}

pub(super) fn recv_append<B: IoBufMut>(fd: &Fd, buf: B) -> Operation<'_, Recv<B>> {
    Operation::on(fd, Recv::append(fd.raw(), buf))
}

pub(super) fn recv_exact<B: IoBufMut>(fd: &Fd, buf: B, len: usize) -> Operation<'_, Recv<B>> {
    Operation::on(fd, Recv::exact(fd.raw(), buf, len))
}

pub(super) fn recv_to_end(fd: &Fd, buf: Vec<u8>) -> Operation<'_, ReadToEnd> {
    Operation::on(fd, ReadToEnd::of_stream(fd.raw(), buf))
}

pub(super) fn recv_vectored<V: IoVecBufMut>(fd: &Fd, bufs: V) -> Operation<'_, Readv<V>> {
    Operation::on(fd, Readv::new(fd.raw(), bufs, Place::Stream))
}

pub(super) fn recv_lease(fd: &Fd) -> Receive<'_> {
    Receive::new(fd)
}

pub(super) fn recv_stream(fd: &Fd) -> Receiving<'_> {
    Receiving::new(fd)
}

pub(super) fn peek<B: IoBufMut>(fd: &Fd, buf: B) -> Operation<'_, Recv<B>> {
    Operation::on(fd, Recv::peek(fd.raw(), buf))
}

pub(super) fn send<B: IoBuf>(fd: &Fd, buf: B) -> Operation<'_, Send<B>> {
    Operation::on(fd, Send::some(fd.raw(), buf))
}

pub(super) fn send_all<B: IoBuf>(fd: &Fd, buf: B) -> Operation<'_, All<Send<B>>> {
    Operation::on(fd, Send::all(fd.raw(), buf))
}

pub(super) fn send_vectored<V: IoVecBuf>(fd: &Fd, bufs: V) -> Operation<'_, Writev<V>> {
    Operation::on(fd, Writev::new(fd.raw(), bufs, Place::Stream))
}

pub(super) fn readable(fd: &Fd) -> Operation<'_, PollAdd> {
    Operation::on(fd, PollAdd::readable(fd.raw()))
}

pub(super) fn writable(fd: &Fd) -> Operation<'_, PollAdd> {
    Operation::on(fd, PollAdd::new(fd.raw(), libc::POLLOUT))
}

pub(super) fn shutdown(fd: &Fd, how: std::net::Shutdown) -> Operation<'_, op::Shutdown> {
    Operation::on(fd, op::Shutdown::new(fd.raw(), how))
}

pub(super) fn shutdown_stream(fd: &Fd, how: std::net::Shutdown) -> Operation<'_, op::Shutdown> {
    Operation::on(fd, op::Shutdown::of_stream(fd.raw(), how))
}

/// A stream's descriptor for std, after ending operations that were dropped. Refused, with the stream, if one of those has
/// left something that its new owner would not see.
pub(super) fn into_std<S>(fd: Fd, wrap: impl Fn(Fd) -> S) -> Result<OwnedFd, ConvertError<S>> {
    match fd.settle_now() {
        Ok(()) if fd.salvage_if_made().is_some_and(|salvage| salvage.has_bytes_somewhere()) => {
            Err(ConvertError::unread(wrap(fd)))
        }
        _ => take_apart(fd, wrap).map(|(fd, _)| fd),
    }
}

/// The same together with the bytes that dropped reads have received and nobody has read yet.
pub(super) fn take_apart<S>(fd: Fd, wrap: impl Fn(Fd) -> S) -> Result<(OwnedFd, Vec<u8>), ConvertError<S>> {
    if let Err(error) = fd.settle_now() {
        return Err(ConvertError::new(error, wrap(fd)));
    }
    let salvage = fd.salvage_if_made().cloned();
    if salvage.as_ref().is_some_and(|salvage| salvage.has_error()) {
        return Err(ConvertError::untold(wrap(fd)));
    }
    if salvage.as_ref().is_some_and(|salvage| salvage.has_rights()) {
        return Err(ConvertError::descriptors(wrap(fd)));
    }
    match fd.into_owned() {
        Ok(fd) => Ok((fd, salvage.map(|salvage| salvage.take_all_bytes()).unwrap_or_default())),
        Err((error, fd)) => Err(ConvertError::new(error, wrap(fd))),
    }
}

pub(super) fn take_error(fd: RawFd) -> io::Result<Option<io::Error>> {
    let errno = sys::option::<libc::c_int>(fd, libc::SOL_SOCKET, libc::SO_ERROR)?;
    Ok((errno != 0).then(|| io::Error::from_raw_os_error(errno)))
}

pub(super) fn flag(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<bool> {
    sys::option::<libc::c_int>(fd, level, name).map(|on| on != 0)
}

pub(super) fn set_flag(fd: RawFd, level: libc::c_int, name: libc::c_int, on: bool) -> io::Result<()> {
    sys::set_option(fd, level, name, libc::c_int::from(on))
}

// ---- sockets that others can address --------------------------------------------------------------------------

/// A socket with an address: while it is open nobody else can have that. So when it is dropped it is closed at once, which
/// takes a kernel entry, and the address is free.
#[derive(Debug)]
pub(super) struct Bound {
    /// Taken by `drop` and conversions only.
    fd: Option<Fd>,
    nameless: bool,
}

impl Bound {
    pub(super) fn new(fd: OwnedFd) -> Bound {
        Bound { fd: Some(Fd::new(fd)), nameless: false }
    }

    pub(super) fn of(fd: Fd) -> Bound {
        Bound { fd: Some(fd), nameless: false }
    }

    /// One without an address after all: it is closed as everything else is.
    pub(super) fn nameless(fd: OwnedFd) -> Bound {
        Bound { fd: Some(Fd::new(fd)), nameless: true }
    }

    /// One that may have been used by others, so that it may have options of theirs.
    pub(super) fn foreign(fd: OwnedFd) -> Bound {
        let lingers = matches!(sys::linger(fd.as_raw_fd()), Ok(Some(_)));
        let bound = Bound::new(fd);
        bound.fd().set_lingers(lingers);
        bound
    }

    pub(super) fn try_clone(&self) -> io::Result<Bound> {
        Ok(Bound { fd: Some(self.fd().try_clone()?), nameless: self.nameless })
    }

    pub(super) fn fd(&self) -> &Fd {
        self.fd.as_ref().expect("taken at the end only")
    }

    pub(super) fn raw(&self) -> RawFd {
        self.fd().raw()
    }

    pub(super) fn accept<T: Accepted>(&self) -> Operation<'_, Accept<T>> {
        let fd = self.fd();
        Operation::on(fd, Accept::new(fd.raw(), fd.lingers()))
    }

    pub(super) fn incoming<T: Accepted>(&self) -> Incoming<'_, T> {
        Incoming::new(self.fd())
    }

    /// Gives the descriptor away, after ending operations that were dropped. `Err` without an error: one of those has
    /// received something that its new owner would not see.
    pub(super) fn into_owned(mut self) -> Result<OwnedFd, (Option<io::Error>, Bound)> {
        if let Err(error) = self.fd().settle_now() {
            return Err((Some(error), self));
        }
        if self.fd().salvage_if_made().is_some_and(|salvage| salvage.has_items()) {
            return Err((None, self));
        }
        let fd = self.fd.take().expect("taken at the end only");
        let nameless = self.nameless;
        fd.into_owned().map_err(|(error, fd)| (Some(error), Bound { fd: Some(fd), nameless }))
    }

    /// The same together with the datagrams that dropped receives have received. Refused, if one of those has left something
    /// else.
    pub(super) fn into_parts(mut self) -> Result<(OwnedFd, Vec<Datagram>), ConvertError<Bound>> {
        if let Err(error) = self.fd().settle_now() {
            return Err(ConvertError::new(error, self));
        }
        let salvage = self.fd().salvage_if_made().cloned();
        if salvage.as_ref().is_some_and(|salvage| salvage.has_error()) {
            return Err(ConvertError::untold(self));
        }
        if salvage.as_ref().is_some_and(|salvage| salvage.has_rights()) {
            return Err(ConvertError::descriptors(self));
        }
        let fd = self.fd.take().expect("taken at the end only");
        let nameless = self.nameless;
        match fd.into_owned() {
            Ok(fd) => Ok((fd, salvage.map(|salvage| salvage.take_all_datagrams()).unwrap_or_default())),
            Err((error, fd)) => Err(ConvertError::new(error, Bound { fd: Some(fd), nameless })),
        }
    }

    pub(super) async fn close(mut self) -> io::Result<()> {
        let fd = self.fd.take().expect("taken at the end only");
        // Operations that were dropped hold the socket open. Away from home it is closed soon anyway.
        let _ = fd.settle_now();
        op::close(fd).await
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        match self.fd.take() {
            Some(fd) if !self.nameless => fd.close_and_wait(),
            fd => drop(fd),
        }
    }
}

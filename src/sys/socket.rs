//! The calls around a socket that do not block.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::os::fd::{OwnedFd, RawFd};

use super::{RawAddress, check, own};

/// `socketpair(2)` of the Unix family, closed on exec.
pub(crate) fn socket_pair(kind: libc::c_int) -> io::Result<(OwnedFd, OwnedFd)> {
    socket_pair_of(libc::AF_UNIX, kind, 0)
}

/// `socketpair(2)`, closed on exec.
pub(crate) fn socket_pair_of(
    domain: libc::c_int,
    kind: libc::c_int,
    protocol: libc::c_int,
) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1; 2];
    // SAFETY: two numbers that live over the call are passed, and that is how many it writes.
    check(unsafe { libc::socketpair(domain, kind | libc::SOCK_CLOEXEC, protocol, pair.as_mut_ptr()) })?;
    Ok((own(pair[0]), own(pair[1])))
}

/// Whether the receiving direction of a socket has been shut down, so that a receive that gave 0 met the end.
pub(crate) fn is_shut_for_receiving(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one structure that lives over the call is passed; with the timeout 0 it does not block.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLRDHUP != 0
}

/// `sendmsg(2)` from several slices, of which the first 1,024 are used, that takes what there is room for now, or fails with
/// `WouldBlock`.
pub(crate) fn send_vectored_now(fd: RawFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    send_vectored_to_now(fd, slices, None)
}

/// The same to an address.
pub(crate) fn send_vectored_to_now(fd: RawFd, slices: &[IoSlice<'_>], to: Option<RawAddress>) -> io::Result<usize> {
    // SAFETY: a message header is plain numbers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len().min(1024) as _;
    if let Some(to) = &to {
        message.msg_name = (&raw const to.storage).cast_mut().cast();
        message.msg_namelen = to.len;
    }
    // SAFETY: `IoSlice` has the layout of an iovec, by std's promise; slices, address and header live over the call, which
    // only reads them.
    let sent = unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

/// How a message is to be moved: the call, and the address that one of them takes.
pub(crate) enum MessageCall {
    Send { to: u64, to_len: u32 },
    SendMsg,
    Recv,
    RecvMsg,
}

/// Moves a message as an entry of a ring says it, without waiting: `len` bytes at `address`, or what a header there says. A
/// count of bytes, or an `errno` below 0.
///
/// # Safety
///
/// What the addresses point to is valid, as for the calls.
pub(crate) unsafe fn message_now(call: MessageCall, fd: RawFd, address: u64, len: u32, flags: u32) -> i32 {
    let (len, flags) = (len as usize, flags as i32 | libc::MSG_DONTWAIT);
    // SAFETY: passed on.
    let moved = unsafe {
        match call {
            MessageCall::Send { to: 0, .. } => libc::send(fd, address as *const _, len, flags | libc::MSG_NOSIGNAL),
            MessageCall::Send { to, to_len } => {
                libc::sendto(fd, address as *const _, len, flags | libc::MSG_NOSIGNAL, to as *const _, to_len)
            }
            MessageCall::SendMsg => libc::sendmsg(fd, address as *const _, flags | libc::MSG_NOSIGNAL),
            MessageCall::Recv => libc::recv(fd, address as *mut _, len, flags),
            MessageCall::RecvMsg => libc::recvmsg(fd, address as *mut _, flags),
        }
    };
    if moved < 0 { -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) } else { moved as i32 }
}

/// `recvmsg(2)` into several slices, of which the first 1,024 are used, of what is there now, or fails with `WouldBlock`.
/// Tells where it came from, where that is told.
pub(crate) fn recv_vectored_now(
    fd: RawFd,
    slices: &mut [IoSliceMut<'_>],
    flags: libc::c_int,
) -> io::Result<(usize, RawAddress)> {
    let mut from = RawAddress::room();
    // SAFETY: as above.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = (&raw mut from.storage).cast();
    message.msg_namelen = from.len;
    message.msg_iov = slices.as_mut_ptr().cast();
    message.msg_iovlen = slices.len().min(1024) as _;
    // SAFETY: `IoSliceMut` has the layout of an iovec, by std's promise; slices, address and header live over the call, which
    // writes no more than their lengths say.
    let received = unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_DONTWAIT | flags) };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    from.len = message.msg_namelen;
    Ok((received as usize, from))
}

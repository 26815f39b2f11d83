//! System calls that neither std nor the crate offers.
#![allow(unsafe_code, reason = "system calls")]

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

pub fn shutdown_reading(socket: &impl AsRawFd) {
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RD) }, 0);
}

/// Has what goes to groups leave by the loopback interface.
pub fn send_groups_by_loopback(socket: &impl AsRawFd) {
    let interface = Ipv4Addr::LOCALHOST.octets();
    let (level, name) = (libc::IPPROTO_IP, libc::IP_MULTICAST_IF);
    let size = interface.len() as libc::socklen_t;
    // SAFETY: the address lives over the call and its size is passed.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, interface.as_ptr().cast(), size) };
    assert_eq!(result, 0);
}

//! The options of a UDP socket: `socket(7)`, `ip(7)`, `ipv6(7)`, `udp(7)`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use super::UdpSocket;
use crate::net::socket::{flag, set_flag};
use crate::sys;

const IP: libc::c_int = libc::IPPROTO_IP;
const IPV6: libc::c_int = libc::IPPROTO_IPV6;

/// `struct ip_mreq`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Membership4 {
    group: [u8; 4],
    interface: [u8; 4],
}

/// `struct ipv6_mreq`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Membership6 {
    group: [u8; 16],
    interface: u32,
}

impl UdpSocket {
    fn is_ipv6(&self) -> bool {
        self.local_addr().is_ok_and(|address| address.is_ipv6())
    }

    /// Whether datagrams may be sent to broadcast addresses: `SO_BROADCAST`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn broadcast(&self) -> io::Result<bool> {
        flag(self.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BROADCAST)
    }

    /// Allows datagrams to broadcast addresses, or does not.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        set_flag(self.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BROADCAST, on)
    }

    /// Whether what is sent to an IPv4 group comes back to this machine: `IP_MULTICAST_LOOP`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        flag(self.as_raw_fd(), IP, libc::IP_MULTICAST_LOOP)
    }

    /// Has what is sent to an IPv4 group come back to this machine, or not.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        set_flag(self.as_raw_fd(), IP, libc::IP_MULTICAST_LOOP, on)
    }

    /// The time-to-live of what is sent to IPv4 groups, in hops: `IP_MULTICAST_TTL`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        sys::option::<libc::c_int>(self.as_raw_fd(), IP, libc::IP_MULTICAST_TTL).map(|hops| hops as u32)
    }

    /// Sets the time-to-live of what is sent to IPv4 groups, in hops.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_multicast_ttl_v4(&self, hops: u32) -> io::Result<()> {
        sys::set_option(self.as_raw_fd(), IP, libc::IP_MULTICAST_TTL, hops as libc::c_int)
    }

    /// Whether what is sent to an IPv6 group comes back to this machine: `IPV6_MULTICAST_LOOP`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        flag(self.as_raw_fd(), IPV6, libc::IPV6_MULTICAST_LOOP)
    }

    /// Has what is sent to an IPv6 group come back to this machine, or not.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        set_flag(self.as_raw_fd(), IPV6, libc::IPV6_MULTICAST_LOOP, on)
    }

    /// Joins an IPv4 group on the interface that has this address (unspecified: on one that the kernel chooses):
    /// `IP_ADD_MEMBERSHIP`.
    ///
    /// # Errors
    /// Those of `setsockopt(2)` (`InvalidInput` for an address of no group, `AddrInUse` for one that was joined already).
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.membership_v4(libc::IP_ADD_MEMBERSHIP, group, interface)
    }

    /// Leaves an IPv4 group: `IP_DROP_MEMBERSHIP`.
    ///
    /// # Errors
    /// Those of `setsockopt(2)` (`AddrNotAvailable` for one that was not joined).
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.membership_v4(libc::IP_DROP_MEMBERSHIP, group, interface)
    }

    fn membership_v4(&self, name: libc::c_int, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        let membership = Membership4 { group: group.octets(), interface: interface.octets() };
        sys::set_option(self.as_raw_fd(), IP, name, membership)
    }

    /// Joins an IPv6 group on the interface with this index (0: on one that the kernel chooses): `IPV6_ADD_MEMBERSHIP`.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        let membership = Membership6 { group: group.octets(), interface };
        sys::set_option(self.as_raw_fd(), IPV6, libc::IPV6_ADD_MEMBERSHIP, membership)
    }

    /// Leaves an IPv6 group: `IPV6_DROP_MEMBERSHIP`.
    ///
    /// # Errors
    /// Those of `setsockopt(2)` (`AddrNotAvailable` for one that was not joined).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        let membership = Membership6 { group: group.octets(), interface };
        sys::set_option(self.as_raw_fd(), IPV6, libc::IPV6_DROP_MEMBERSHIP, membership)
    }

    /// Sets an option of IPv4, and that of IPv6 on a socket of that family, which may receive from both.
    fn set_for_both(&self, ipv4: libc::c_int, ipv6: libc::c_int, on: bool) -> io::Result<()> {
        let fd = self.as_raw_fd();
        if !self.is_ipv6() {
            return set_flag(fd, IP, ipv4, on);
        }
        set_flag(fd, IPV6, ipv6, on)?;
        // A socket that is for IPv6 only may refuse.
        let _ = set_flag(fd, IP, ipv4, on);
        Ok(())
    }

    /// Has [`recv_msg`](UdpSocket::recv_msg) tell congestion marks: `IP_RECVTOS`, `IPV6_RECVTCLASS`.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_recv_ecn(&self, on: bool) -> io::Result<()> {
        self.set_for_both(libc::IP_RECVTOS, libc::IPV6_RECVTCLASS, on)
    }

    /// Has [`recv_msg`](UdpSocket::recv_msg) tell to which address and on which interface a datagram came: `IP_PKTINFO`,
    /// `IPV6_RECVPKTINFO`.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_recv_packet_info(&self, on: bool) -> io::Result<()> {
        self.set_for_both(libc::IP_PKTINFO, libc::IPV6_RECVPKTINFO, on)
    }

    /// Lets the kernel join datagrams of one size from one source, as [`UdpMessage::segment_len`] then tells: `UDP_GRO`.
    /// Only [`recv_msg`](UdpSocket::recv_msg) can take them apart again.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    ///
    /// [`UdpMessage::segment_len`]: super::UdpMessage::segment_len
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        set_flag(self.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, on)
    }
}

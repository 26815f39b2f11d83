//! Socket addresses as the kernel has them.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;

use super::check;

/// An address as the kernel wants it, and its length in bytes.
pub(crate) fn encode_address(address: &SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: the storage is plain bytes, for which zero is valid.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let start = &raw mut storage;
    let len = match address {
        SocketAddr::V4(v4) => {
            let inner = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is large enough and aligned for every address family.
            unsafe { start.cast::<libc::sockaddr_in>().write(inner) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let inner = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { start.cast::<libc::sockaddr_in6>().write(inner) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, len as libc::socklen_t)
}

/// The address that the kernel wrote.
pub(crate) fn address_from(storage: &libc::sockaddr_storage) -> io::Result<SocketAddr> {
    let start = &raw const *storage;
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which structure it is; the storage is large enough and aligned for it.
            let inner = unsafe { start.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(inner.sin_addr.s_addr.to_ne_bytes());
            Ok(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(inner.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let inner = unsafe { start.cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(inner.sin6_addr.s6_addr);
            let port = u16::from_be(inner.sin6_port);
            Ok(SocketAddr::V6(SocketAddrV6::new(ip, port, inner.sin6_flowinfo, inner.sin6_scope_id)))
        }
        family => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("address family {family} is neither IPv4 nor IPv6"),
        )),
    }
}

/// The address that a socket is bound to: `getsockname(2)`.
pub(crate) fn local_address(fd: RawFd) -> io::Result<SocketAddr> {
    ask(fd, libc::getsockname)
}

/// The address that a socket is connected to: `getpeername(2)`.
pub(crate) fn peer_address(fd: RawFd) -> io::Result<SocketAddr> {
    ask(fd, libc::getpeername)
}

type Ask = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn ask(fd: RawFd, call: Ask) -> io::Result<SocketAddr> {
    // SAFETY: the storage is plain bytes, for which zero is valid.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: storage and length live over the call, which writes at most `len` bytes.
    check(unsafe { call(fd, (&raw mut storage).cast(), &raw mut len) })?;
    address_from(&storage)
}

/// `bind(2)`. Does not block.
pub(crate) fn bind(fd: RawFd, address: &SocketAddr) -> io::Result<()> {
    let (storage, len) = encode_address(address);
    // SAFETY: the address lives over the call, and its length is passed.
    check(unsafe { libc::bind(fd, (&raw const storage).cast(), len) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        for text in
            ["127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:443", "[fe80::1%7]:1", "[::ffff:1.2.3.4]:9"]
        {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(address_from(&encode_address(&address).0).unwrap(), address);
        }
        // SAFETY: the storage is plain bytes, for which zero is valid.
        let unspecified: libc::sockaddr_storage = unsafe { mem::zeroed() };
        assert!(address_from(&unspecified).is_err());
    }
}

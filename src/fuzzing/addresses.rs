//! Socket addresses, as the kernel gives them and as it takes them.

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixSocketAddr;

use super::Input;
use crate::net::SockAddr;
use crate::sys::{Address, RawAddress};

/// What can be read of an address can be said again, and means the same.
pub fn addresses(data: &[u8]) {
    let mut input = Input(data);
    let how = input.u8();
    // A family that is known, mostly.
    let mut bytes = input.0.to_vec();
    if let (Some(family), true) = (bytes.first_chunk_mut(), how & 3 != 0) {
        let families =
            [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX, libc::AF_NETLINK, libc::AF_VSOCK, libc::AF_PACKET];
        *family = (families[usize::from(how >> 2) % families.len()] as u16).to_ne_bytes();
    }
    let Ok(address) = SockAddr::from_bytes(&bytes) else {
        return assert!(bytes.len() < 2 || bytes.len() > 128);
    };
    assert_eq!(address.as_bytes(), bytes);
    let _ = format!("{address:?}");
    if let Some(inet) = address.as_inet() {
        again(&inet);
        let family = i32::from(address.family());
        assert_eq!(family, if inet.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 });
        assert_eq!(SockAddr::from(inet).as_inet(), Some(inet));
        // What an address has is there, whatever the length says.
        let port = u16::from_be_bytes([*bytes.get(2).unwrap_or(&0), *bytes.get(3).unwrap_or(&0)]);
        assert_eq!(inet.port(), port);
    }
    if let Some(unix) = address.as_unix() {
        assert!(address.as_inet().is_none());
        let twice = UnixSocketAddr::decode(&unix.encode()).expect("it was made of one");
        assert_eq!(twice.as_pathname(), unix.as_pathname());
        assert_eq!(twice.as_abstract_name(), unix.as_abstract_name());
        match (unix.as_abstract_name(), unix.as_pathname()) {
            (Some(name), _) => assert_eq!(name, &bytes[3..]),
            (None, Some(path)) => {
                let path = path.as_os_str().as_encoded_bytes();
                assert!(bytes[2..].starts_with(path) && !path.contains(&0) && path.len() <= 107);
            }
            (None, None) => {}
        }
    }
    if let Some((port, groups)) = address.as_netlink() {
        assert_eq!(SockAddr::netlink(port, groups).as_netlink(), Some((port, groups)));
    }
    if let Some((context, port)) = address.as_vsock() {
        assert_eq!(SockAddr::vsock(context, port).as_vsock(), Some((context, port)));
    }
    let link = SockAddr::packet(3, 8, &bytes);
    assert_eq!((i32::from(link.family()), link.as_bytes().len()), (libc::AF_PACKET, 20));
    // What the kernel says of a length that it had no room for is more than there is.
    let mut longer = RawAddress::of_bytes(&bytes).expect("it was one above");
    longer.len = libc::socklen_t::from(how).saturating_mul(3).max(longer.len);
    assert!(longer.bytes().len() <= size_of::<libc::sockaddr_storage>());
    let _ = (SocketAddr::decode(&longer), UnixSocketAddr::decode(&longer));
}

fn again(inet: &SocketAddr) {
    assert_eq!(SocketAddr::decode(&inet.encode()).expect("it was made of one"), *inet);
}

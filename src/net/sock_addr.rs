//! `SockAddr`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::SocketAddr as UnixSocketAddr;

use crate::sys::{Address, RawAddress};

/// The address of a socket of any family, as the kernel has it: `struct sockaddr`, of which the first two bytes are the
/// family.
///
/// ```
/// use ringtoss::net::SockAddr;
/// let inet: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
/// let address = SockAddr::from(inet);
/// assert_eq!(address.as_inet(), Some(inet));
/// assert_eq!(SockAddr::netlink(7, 1).as_netlink(), Some((7, 1)));
/// ```
#[derive(Clone, Copy)]
pub struct SockAddr(RawAddress);

impl SockAddr {
    /// One from its bytes, the family first, as C lays it out.
    ///
    /// # Errors
    /// `InvalidInput` for fewer than 2 bytes or more than 128.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<SockAddr> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "an address has 2 to 128 bytes, its family first");
        RawAddress::of_bytes(bytes).map(SockAddr).ok_or_else(invalid)
    }

    /// Of a family, with what comes behind that.
    fn of(family: libc::c_int, rest: &[u8]) -> SockAddr {
        let bytes = [&(family as u16).to_ne_bytes(), rest].concat();
        SockAddr::from_bytes(&bytes).expect("a known form is no longer than an address can be")
    }

    /// Of the routing and other messages of the kernel, `netlink(7)`: the port, 0 for the kernel's own or to be chosen, and
    /// the groups, a bit for each.
    pub fn netlink(port: u32, groups: u32) -> SockAddr {
        SockAddr::of(libc::AF_NETLINK, &[&[0; 2][..], &port.to_ne_bytes(), &groups.to_ne_bytes()].concat())
    }

    /// Of a virtual machine or its host, `vsock(7)`: the context (`u32::MAX`: any) and the port (`u32::MAX`: to be chosen).
    pub fn vsock(context: u32, port: u32) -> SockAddr {
        SockAddr::of(libc::AF_VSOCK, &[&[0; 2][..], &port.to_ne_bytes(), &context.to_ne_bytes(), &[0; 4]].concat())
    }

    /// Of an interface, `packet(7)`: its index (0: any), the protocol of the link layer (`ETH_P_*`), and the address there.
    /// At most 8 bytes of that count.
    pub fn packet(interface: u32, protocol: u16, link: &[u8]) -> SockAddr {
        let link = &link[..link.len().min(8)];
        let mut place = [0; 8];
        place[..link.len()].copy_from_slice(link);
        // Protocol, index, kind of hardware, kind of packet, length of the address, address.
        let rest: [&[u8]; 6] =
            [&protocol.to_be_bytes(), &interface.to_ne_bytes(), &[0; 2], &[0], &[link.len() as u8], &place];
        SockAddr::of(libc::AF_PACKET, &rest.concat())
    }

    /// The family: `AF_*`. 0 (`AF_UNSPEC`) if there is no address at all.
    pub fn family(&self) -> u16 {
        self.0.family() as u16
    }

    /// The bytes, the family first. None, if there is no address at all: of a sender that is not bound, say.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The address, if it is one of IPv4 or IPv6.
    pub fn as_inet(&self) -> Option<SocketAddr> {
        SocketAddr::decode(&self.0).ok()
    }

    /// The address, if it is one of the Unix family.
    pub fn as_unix(&self) -> Option<UnixSocketAddr> {
        (libc::c_int::from(self.family()) == libc::AF_UNIX).then(|| UnixSocketAddr::decode(&self.0).ok())?
    }

    /// Two numbers from a place on, if it is of a family.
    fn numbers(&self, family: libc::c_int, at: usize) -> Option<(u32, u32)> {
        let bytes = self.as_bytes();
        let number = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        (libc::c_int::from(self.family()) == family).then(|| Some((number(at)?, number(at + 4)?)))?
    }

    /// Port and groups, if it is one of netlink.
    pub fn as_netlink(&self) -> Option<(u32, u32)> {
        self.numbers(libc::AF_NETLINK, 4)
    }

    /// Context and port, if it is one of a virtual machine.
    pub fn as_vsock(&self) -> Option<(u32, u32)> {
        self.numbers(libc::AF_VSOCK, 4).map(|(port, context)| (context, port))
    }
}

impl From<SocketAddr> for SockAddr {
    fn from(address: SocketAddr) -> SockAddr {
        SockAddr(address.encode())
    }
}

impl From<UnixSocketAddr> for SockAddr {
    fn from(address: UnixSocketAddr) -> SockAddr {
        SockAddr(address.encode())
    }
}

impl PartialEq for SockAddr {
    fn eq(&self, other: &SockAddr) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for SockAddr {}

impl Hash for SockAddr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.as_inet() {
            return address.fmt(f);
        }
        if let Some(address) = self.as_unix() {
            return address.fmt(f);
        }
        f.debug_struct("SockAddr").field("family", &self.family()).field("bytes", &self.as_bytes()).finish()
    }
}

impl Address for SockAddr {
    fn encode(&self) -> RawAddress {
        self.0
    }

    fn decode(raw: &RawAddress) -> io::Result<SockAddr> {
        Ok(SockAddr(*raw))
    }
}

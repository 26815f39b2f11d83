//! What travels beside the bytes of a datagram.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::domain;
use crate::op::{Details, Outgoing, Receives, SendMsg};
use crate::sys::Address;
use crate::sys::ancillary::{number, space};

/// The mark of explicit congestion notification that a packet carries, RFC 3168.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// The sender's transport takes it, in the way of RFC 9331.
    Ect1 = 0b01,
    /// The sender's transport takes it.
    Ect0 = 0b10,
    /// Congestion was met.
    Ce = 0b11,
}

impl Ecn {
    /// What the lower two bits of the type of service or traffic class say; `None` if the transport does not take it.
    pub fn from_bits(bits: u8) -> Option<Ecn> {
        match bits & 0b11 {
            0b01 => Some(Ecn::Ect1),
            0b10 => Some(Ecn::Ect0),
            0b11 => Some(Ecn::Ce),
            _ => None,
        }
    }
}

/// A datagram that was received, or several that the kernel has joined. Made by
/// [`UdpSocket::recv_msg`](super::UdpSocket::recv_msg).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpMessage {
    /// Bytes in the buffer.
    pub len: usize,
    /// Where it came from.
    pub from: SocketAddr,
    /// The buffer was too small, and the rest of the datagram is gone: `MSG_TRUNC`.
    pub truncated: bool,
    /// The congestion mark, if [asked for](super::UdpSocket::set_recv_ecn) and marked.
    pub ecn: Option<Ecn>,
    /// The address that it was sent to, if [asked for](super::UdpSocket::set_recv_packet_info).
    pub destination: Option<IpAddr>,
    /// The index of the interface that it came in by, if asked for with the destination.
    pub interface: Option<u32>,
    /// Bytes of each of the datagrams that were joined (the last may be shorter), if they
    /// [were](super::UdpSocket::set_gro): `UDP_GRO`.
    pub segment_len: Option<usize>,
}

impl Receives for UdpMessage {
    type Output = UdpMessage;
    const HEADER: bool = true;
    /// Congestion mark, packet info of both families, segment's size.
    const CONTROL_BYTES: usize = 2 * space(4) + space(20) + space(12);
    const NAME_BYTES: usize = 32;

    fn received(details: Details<'_>) -> io::Result<UdpMessage> {
        let mut message = UdpMessage {
            len: details.len,
            from: details.from()?,
            truncated: details.flags & libc::MSG_TRUNC != 0,
            ecn: None,
            destination: None,
            interface: None,
            segment_len: None,
        };
        for (level, kind, data) in details.control.messages() {
            message.note(level, kind, data);
        }
        Ok(message)
    }
}

impl UdpMessage {
    fn note(&mut self, level: i32, kind: i32, data: &[u8]) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                self.ecn = number(data).and_then(|class| Ecn::from_bits(class as u8));
            }
            // Index, then the address that is local, then the one in the packet.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) if data.len() >= 12 => {
                self.interface = number(data).map(|index| index as u32);
                let address: [u8; 4] = data[8..12].try_into().expect("four bytes");
                self.destination = Some(IpAddr::V4(address.into()));
            }
            // A socket of IPv6 gets both for what came by IPv4, and this one says it as its own addresses do.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if data.len() >= 20 => {
                let address: [u8; 16] = data[..16].try_into().expect("sixteen bytes");
                self.destination = Some(IpAddr::V6(address.into()));
                self.interface = number(&data[16..20]).map(|index| index as u32);
            }
            (libc::SOL_UDP, libc::UDP_GRO) => self.segment_len = number(data).map(|len| len as usize),
            _ => {}
        }
    }
}

/// How a datagram is to be sent: for [`UdpSocket::send_msg`](super::UdpSocket::send_msg).
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::net::UdpSocket;
/// use ringtoss::net::udp::{Ecn, Transmit};
///
/// let receiver = UdpSocket::bind("127.0.0.1:0").await?;
/// receiver.set_recv_ecn(true)?;
/// let sender = UdpSocket::bind("127.0.0.1:0").await?;
/// // Three datagrams in one call, marked.
/// let transmit = Transmit::to(receiver.local_addr()?).ecn(Ecn::Ect0).segment_len(4);
/// sender.send_msg("one two tri!", &transmit).await.0?;
/// for part in ["one ", "two ", "tri!"] {
///     let (result, buf) = receiver.recv_msg(Vec::with_capacity(16)).await;
///     assert_eq!((result?.ecn, &buf[..]), (Some(Ecn::Ect0), part.as_bytes()));
/// }
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transmit {
    to: Option<SocketAddr>,
    ecn: Option<Ecn>,
    source: Option<IpAddr>,
    interface: Option<u32>,
    segment_len: Option<u16>,
}

impl Transmit {
    /// To the peer of a connected socket.
    pub fn new() -> Transmit {
        Transmit::default()
    }

    /// To an address.
    pub fn to(address: SocketAddr) -> Transmit {
        Transmit { to: Some(address), ..Transmit::default() }
    }

    /// With a congestion mark: `IP_TOS`, `IPV6_TCLASS`.
    pub fn ecn(mut self, mark: Ecn) -> Transmit {
        self.ecn = Some(mark);
        self
    }

    /// From this one of the machine's addresses: `IP_PKTINFO`, `IPV6_PKTINFO`.
    pub fn source(mut self, address: IpAddr) -> Transmit {
        self.source = Some(address);
        self
    }

    /// Out by the interface with this index: `IP_PKTINFO`, `IPV6_PKTINFO`.
    pub fn interface(mut self, index: u32) -> Transmit {
        self.interface = Some(index);
        self
    }

    /// Cut into datagrams of so many bytes (the last may be shorter), at most 64 of them on older kernels, none of them
    /// larger than the path takes: `UDP_SEGMENT`.
    pub fn segment_len(mut self, bytes: u16) -> Transmit {
        self.segment_len = Some(bytes);
        self
    }

    /// `family` finds out that of a peer.
    pub(super) fn apply<B: crate::buf::IoBuf>(&self, send: SendMsg<B>, family: impl FnOnce() -> i32) -> SendMsg<B> {
        let mut control = Outgoing::none();
        if self.ecn.is_some() || self.source.is_some() || self.interface.is_some() {
            let family = self.to.as_ref().map_or_else(family, family_on_the_wire);
            if let Err(reason) = self.add_for_family(family == libc::AF_INET, &mut control) {
                return send.to(Err(reason));
            }
        }
        if let Some(len) = self.segment_len {
            control.append(libc::SOL_UDP, libc::UDP_SEGMENT, &len.to_ne_bytes());
        }
        let send = send.with(control);
        match &self.to {
            Some(address) => send.to(Ok(address.encode())),
            None => send,
        }
    }

    fn add_for_family(&self, ipv4: bool, control: &mut Outgoing) -> Result<(), &'static str> {
        if let Some(mark) = self.ecn {
            let (level, kind) =
                if ipv4 { (libc::IPPROTO_IP, libc::IP_TOS) } else { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) };
            control.append(level, kind, &(mark as i32).to_ne_bytes());
        }
        if self.source.is_none() && self.interface.is_none() {
            return Ok(());
        }
        let index = self.interface.unwrap_or(0).to_ne_bytes();
        if ipv4 {
            let source = match self.source {
                Some(IpAddr::V4(source)) => source,
                Some(IpAddr::V6(source)) => {
                    source.to_ipv4_mapped().ok_or("an IPv6 source for a datagram that goes out by IPv4")?
                }
                None => Ipv4Addr::UNSPECIFIED,
            };
            let mut data = [0; 12];
            data[..4].copy_from_slice(&index);
            data[4..8].copy_from_slice(&source.octets());
            control.append(libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
        } else {
            let source = match self.source {
                Some(IpAddr::V4(source)) => source.to_ipv6_mapped(),
                Some(IpAddr::V6(source)) => source,
                None => Ipv6Addr::UNSPECIFIED,
            };
            let mut data = [0; 20];
            data[..16].copy_from_slice(&source.octets());
            data[16..].copy_from_slice(&index);
            control.append(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data);
        }
        Ok(())
    }
}

/// What carries a datagram to an address: one of IPv6 that holds one of IPv4 is reached by that.
fn family_on_the_wire(address: &SocketAddr) -> i32 {
    match address.ip() {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => libc::AF_INET,
        _ => domain(address),
    }
}

//! Sockets of any family.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use ringtoss::net::{Outbound, SockAddr, Socket};

use crate::util::*;

/// The messages of a netlink answer: kind and content.
fn netlink_messages(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    while bytes.len() >= 16 {
        let len = u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize;
        let kind = u16::from_ne_bytes(bytes[4..6].try_into().unwrap());
        all.push((kind, bytes[16..len].to_vec()));
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// The name in a message about an interface.
fn interface_name(content: &[u8]) -> Option<String> {
    let mut attributes = content.get(16..)?;
    while attributes.len() >= 4 {
        let len = usize::from(u16::from_ne_bytes(attributes[..2].try_into().unwrap()));
        if u16::from_ne_bytes(attributes[2..4].try_into().unwrap()) == libc::IFLA_IFNAME {
            return Some(String::from_utf8(attributes[4..len - 1].to_vec()).unwrap());
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
    None
}

#[test]
fn the_interfaces_by_netlink() {
    run(async {
        let socket = Socket::new(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).unwrap();
        socket.bind(&SockAddr::netlink(0, 0)).await.unwrap();
        let (port, groups) = socket.local_addr().unwrap().as_netlink().unwrap();
        assert!(port != 0 && groups == 0);
        let mut request = vec![0u8; 32];
        request[..4].copy_from_slice(&32u32.to_ne_bytes());
        request[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
        request[6..8].copy_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
        socket.send_to(request, &SockAddr::netlink(0, 0)).await.0.unwrap();
        let mut names = Vec::new();
        'all: loop {
            let (result, buf) = socket.recv_msg(Vec::with_capacity(64 * 1024)).await;
            let message = result.unwrap();
            assert_eq!(
                (message.from.as_netlink(), message.is_truncated(), message.len),
                (Some((0, 0)), false, buf.len())
            );
            for (kind, content) in netlink_messages(&buf) {
                if i32::from(kind) == libc::NLMSG_DONE {
                    break 'all;
                }
                assert_eq!(kind, libc::RTM_NEWLINK);
                names.extend(interface_name(&content));
            }
        }
        names.sort();
        // The names that the file system has, but for those that come and go meanwhile.
        let known: Vec<_> = std::fs::read_dir("/sys/class/net").unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.contains(&"lo".to_string()), "{names:?}");
        assert!(known.iter().any(|name| name == "lo"), "{known:?}");
    });
}

#[test]
fn a_dropped_netlink_receive_loses_nothing() {
    run(async {
        let socket = Socket::new(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).unwrap();
        for round in 0..20 {
            let mut dropped = socket.recv_from(Vec::with_capacity(64 * 1024));
            assert!(poll_once(&mut dropped).await.is_pending());
            turn().await;
            // A request that is refused is answered at once: `NLMSG_ERROR`.
            let mut request = vec![0u8; 16];
            request[..4].copy_from_slice(&16u32.to_ne_bytes());
            request[4..6].copy_from_slice(&u16::MAX.to_ne_bytes());
            request[6..8].copy_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
            request[8..12].copy_from_slice(&(round as u32).to_ne_bytes());
            socket.send_to(request, &SockAddr::netlink(0, 0)).await.0.unwrap();
            turn().await;
            drop(dropped);
            let (result, buf) = socket.recv_from(Vec::with_capacity(64 * 1024)).await;
            assert_eq!(result.unwrap().1.as_netlink(), Some((0, 0)));
            assert_eq!(i32::from(netlink_messages(&buf)[0].0), libc::NLMSG_ERROR);
            assert_eq!(buf[8..12], (round as u32).to_ne_bytes());
        }
    });
}

/// An echo request of ICMP, without the checksum, which a ping socket adds by itself.
fn echo_request(number: u16) -> Vec<u8> {
    let mut packet = vec![8, 0, 0, 0, 0, 0];
    packet.extend(number.to_be_bytes());
    packet.extend(b"ringtoss");
    packet
}

fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded + (folded >> 16)) as u16)
}

#[test]
fn pings() {
    let target = SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    run(async {
        // Who may, may without privileges; otherwise it takes a raw socket, which sees the IP header, and all that comes.
        match Socket::new(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP) {
            Ok(socket) => {
                socket.send_to(echo_request(7), &target).await.0.unwrap();
                let (result, buf) = socket.recv_from(Vec::with_capacity(999)).await;
                assert_eq!(result.unwrap().1.as_inet().unwrap().ip(), Ipv4Addr::LOCALHOST);
                assert_eq!((buf[0], &buf[6..8], &buf[8..]), (0, &[0, 7][..], &b"ringtoss"[..]));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        }
        let socket = match Socket::new(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP) {
            Ok(socket) => socket,
            Err(error) => return assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        };
        let mut request = echo_request(8);
        request[4..6].copy_from_slice(&(std::process::id() as u16).to_be_bytes());
        let sum = checksum(&request).to_be_bytes();
        request[2..4].copy_from_slice(&sum);
        socket.send_to(request.clone(), &target).await.0.unwrap();
        loop {
            let (result, buf) = socket.recv_from(Vec::with_capacity(999)).await;
            assert!(result.unwrap().1.as_inet().unwrap().ip().is_loopback());
            let packet = &buf[usize::from(buf[0] & 0xf) * 4..];
            if packet[0] == 0 && packet[4..6] == request[4..6] {
                break assert_eq!(packet[6..], request[6..]);
            }
        }
    });
}

#[test]
fn packets_of_an_interface() {
    const ETH_P_IP: u16 = 0x0800;
    let Ok(socket) = Socket::new(libc::AF_PACKET, libc::SOCK_DGRAM, 0) else {
        return eprintln!("skipped: packets want CAP_NET_RAW");
    };
    run(async {
        // The loopback interface is the first one.
        socket.bind(&SockAddr::packet(1, ETH_P_IP, &[])).await.unwrap();
        assert_eq!(i32::from(socket.local_addr().unwrap().family()), libc::AF_PACKET);
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"seen on the wire", target.local_addr().unwrap()).unwrap();
        loop {
            let (result, buf) = socket.recv_msg(Vec::with_capacity(70_000)).await;
            assert_eq!(i32::from(result.unwrap().from.family()), libc::AF_PACKET);
            if buf.ends_with(b"seen on the wire") {
                break;
            }
        }
    });
}

#[test]
fn virtual_machines_and_their_hosts() {
    let Ok(listener) = Socket::new(libc::AF_VSOCK, libc::SOCK_STREAM, 0) else {
        return eprintln!("skipped: there is no vsock here");
    };
    run(async {
        listener.bind(&SockAddr::vsock(u32::MAX, u32::MAX)).await.unwrap();
        let (_, port) = listener.local_addr().unwrap().as_vsock().unwrap();
        listener.listen(4).unwrap();
        let client = Socket::new(libc::AF_VSOCK, libc::SOCK_STREAM, 0).unwrap();
        // This machine itself is context 1, if the kernel has that.
        match client.connect(&SockAddr::vsock(1, port)).await {
            Ok(()) => {
                let (server, peer) = listener.accept().await.unwrap();
                assert_eq!(peer.as_vsock().unwrap().0, 1);
                client.send("hello").await.0.unwrap();
                assert_eq!(server.recv(Vec::with_capacity(9)).await.1, b"hello");
            }
            Err(error) => eprintln!("not connected: no loopback of vsock here ({error})"),
        }
    });
}

#[test]
fn streams_of_the_internet_and_unix_families() {
    run(async {
        let listener = Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        // SAFETY: the value is a number.
        unsafe { listener.set_option(libc::SOL_SOCKET, libc::SO_REUSEADDR, &1i32.to_ne_bytes()) }.unwrap();
        let mut value = [0; 4];
        // SAFETY: as above; and so is that of what there is not.
        let mut option = |level, name| unsafe { listener.option(level, name, &mut value) };
        assert_eq!(option(0x7777, 1).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(option(libc::SOL_SOCKET, libc::SO_REUSEADDR).unwrap(), 4);
        assert_eq!(i32::from_ne_bytes(value), 1);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).await.unwrap();
        listener.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let mut peer = std::net::TcpStream::connect(address.as_inet().unwrap()).unwrap();
        let (server, from) = listener.accept().await.unwrap();
        assert_eq!(from.as_inet().unwrap(), peer.local_addr().unwrap());
        // Bytes that a dropped receive took come out of the next, however small, and then the end.
        for round in 0..20 {
            let mut dropped = server.recv(Vec::with_capacity(99));
            assert!(poll_once(&mut dropped).await.is_pending());
            turn().await;
            peer.write_all(b"0123456789").unwrap();
            turn().await;
            if round % 2 == 0 {
                turn().await;
            }
            drop(dropped);
            let mut all = Vec::new();
            while all.len() < 10 {
                let (result, buf) = server.recv(Vec::with_capacity(3)).await;
                assert_eq!(result.unwrap(), buf.len());
                all.extend(buf);
            }
            assert_eq!(all, b"0123456789");
        }
        server.send("back").await.0.unwrap();
        let mut buf = [0; 4];
        peer.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"back");
        drop(peer);
        assert_eq!(server.recv(Vec::with_capacity(3)).await.0.unwrap(), 0);
        drop(listener);
        std::net::TcpListener::bind(address.as_inet().unwrap()).unwrap();

        let (a, b) = Socket::pair(libc::AF_UNIX, libc::SOCK_STREAM, 0).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        a.send_msg("with", Outbound::new().fds(vec![reader.into()])).await.0.unwrap();
        let (result, _) = b.recv_msg(Vec::with_capacity(99)).await;
        let mut message = result.unwrap();
        assert_eq!((message.len, message.fds.len()), (4, 1));
        writer.write_all(b"x").unwrap();
        File::from(message.fds.remove(0)).read_exact(&mut [0]).unwrap();
        // Descriptors that came to a dropped receive are closed.
        let mut dropped = b.recv_msg(Vec::with_capacity(99));
        assert!(poll_once(&mut dropped).await.is_pending());
        turn().await;
        let (reader, mut writer) = std::io::pipe().unwrap();
        a.send_msg("with", Outbound::new().fds(vec![reader.into()])).await.0.unwrap();
        turn().await;
        drop(dropped);
        assert_eq!(b.recv(Vec::with_capacity(99)).await.1, b"with");
        until(|| writer.write(b"x").is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)).await;
        let owned = a.into_owned_fd().unwrap();
        assert_eq!(format!("{:?}", Socket::from(owned).local_addr().unwrap()), "(unnamed)");
    });
}

#[test]
fn a_path_is_bound_and_control_messages_are_sent_and_told() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = std::os::unix::net::SocketAddr::from_pathname(dir.path().join("any")).unwrap();
        let socket = Socket::new(libc::AF_UNIX, libc::SOCK_DGRAM, 0).unwrap();
        socket.bind(&path.clone().into()).await.unwrap();
        assert_eq!(socket.local_addr().unwrap().as_unix().unwrap().as_pathname(), path.as_pathname());
        same_error(
            Socket::new(libc::AF_UNIX, libc::SOCK_DGRAM, 0).unwrap().bind(&path.clone().into()).await,
            std::os::unix::net::UnixDatagram::bind_addr(&path),
        );
        // SAFETY: the value is a number.
        unsafe { socket.set_option(libc::SOL_SOCKET, libc::SO_PASSCRED, &1i32.to_ne_bytes()) }.unwrap();
        let sender = Socket::new(libc::AF_UNIX, libc::SOCK_DGRAM, 0).unwrap();
        let target = SockAddr::from(path);
        sender.send_msg("who", Outbound::new().to(target)).await.0.unwrap();
        // The same, said by the sender.
        let ids = [std::process::id(), 0, 0];
        let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_ne_bytes()).collect();
        let with_ids = Outbound::new().to(target).control(libc::SOL_SOCKET, libc::SCM_CREDENTIALS, &ids);
        let said = sender.send_msg("am I", with_ids).await.0;
        for _ in 0..1 + usize::from(said.is_ok()) {
            let (result, _) = socket.recv_msg(Vec::with_capacity(2)).await;
            let message = result.unwrap();
            assert!(message.is_truncated());
            let told = &message.control[0];
            assert_eq!((told.level, told.kind), (libc::SOL_SOCKET, libc::SCM_CREDENTIALS));
            assert_eq!(told.data[..4], std::process::id().to_ne_bytes());
        }
    });
}

#[test]
fn errors_are_those_of_the_system() {
    assert_eq!(Socket::new(12345, libc::SOCK_STREAM, 0).unwrap_err().raw_os_error(), Some(libc::EAFNOSUPPORT));
    assert_eq!(Socket::pair(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    assert_eq!(SockAddr::from_bytes(&[1]).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(SockAddr::from_bytes(&[0; 129]).unwrap_err().kind(), ErrorKind::InvalidInput);
    let inet = SockAddr::from("[::1]:80".parse::<SocketAddr>().unwrap());
    assert_eq!(SockAddr::from_bytes(inet.as_bytes()).unwrap(), inet);
    assert_eq!((inet.as_unix(), inet.as_netlink(), inet.as_vsock()).1, None);
    assert_eq!(SockAddr::vsock(3, 9).as_vsock(), Some((3, 9)));
    // SCTP, where the kernel has it: records have ends.
    match Socket::new(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP) {
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPROTONOSUPPORT)),
        Ok(listener) => run(async {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            listener.bind(&any.into()).await.unwrap();
            listener.listen(4).unwrap();
            let client = Socket::new(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP).unwrap();
            client.connect(&listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            client.send("record").await.0.unwrap();
            let message = server.recv_msg(Vec::with_capacity(3)).await.0.unwrap();
            assert!(!message.ends_record());
            assert!(server.recv_msg(Vec::with_capacity(9)).await.0.unwrap().ends_record());
        }),
    }
    fn is_send<T: Send + Sync>() {}
    is_send::<Socket>();
}

/// Why options as bytes are unsafe: this one has the kernel write what was received to an address that is in them.
#[test]
fn an_option_may_name_memory() {
    run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket::from(OwnedFd::from(listener.accept().unwrap().0));
        std::io::Write::write_all(&mut peer, b"elsewhere").unwrap();
        socket.readable().await.unwrap();
        let mut memory = *b".........";
        // `struct tcp_zerocopy_receive`: where to copy what is not mapped, and how much of it.
        let mut value = [0u8; 64];
        value[24..32].copy_from_slice(&(memory.as_mut_ptr() as u64).to_ne_bytes());
        value[32..36].copy_from_slice(&(memory.len() as i32).to_ne_bytes());
        const TCP_ZEROCOPY_RECEIVE: i32 = 35;
        // SAFETY: the memory is ours, and as long as was said.
        unsafe { socket.option(libc::IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &mut value) }.unwrap();
        assert_eq!(std::hint::black_box(&memory), b"elsewhere");
    });
}

#[test]
#[should_panic(expected = "too early")]
fn what_would_give_a_buffer_back_too_early_is_refused() {
    let _ = Outbound::new().flags(libc::MSG_ZEROCOPY);
}

#[test]
#[should_panic(expected = "addresses of memory")]
fn control_messages_that_name_memory_are_refused() {
    // `SOL_RDS`, which musl's headers have not.
    let _ = Outbound::new().control(276, 1, &[0; 64]);
}

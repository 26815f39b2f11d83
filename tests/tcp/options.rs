//! Socket options: the kernel has what was set, and what it does is what was asked for.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use ringtoss::net::{TcpListener, TcpSocket, TcpState, TcpStream};

use crate::system;
use crate::util::*;

/// Sets one option to values, and reads it back by the crate and by the system.
macro_rules! round_trip {
    ($socket:expr, $get:ident, $set:ident, $level:ident, $name:ident, $($value:expr => $raw:expr),+) => {
        $({
            $socket.$set($value).unwrap();
            assert_eq!(($socket.$get().unwrap(), option($socket, libc::$level, libc::$name, 0i32)), ($value, $raw));
        })+
    };
}

/// Those that every type has.
macro_rules! shared {
    ($socket:expr) => {
        round_trip!($socket, reuseaddr, set_reuseaddr, SOL_SOCKET, SO_REUSEADDR, true => 1, false => 0);
        round_trip!($socket, reuseport, set_reuseport, SOL_SOCKET, SO_REUSEPORT, true => 1, false => 0);
        round_trip!($socket, priority, set_priority, SOL_SOCKET, SO_PRIORITY, 5 => 5);
        round_trip!($socket, ttl, set_ttl, IPPROTO_IP, IP_TTL, 77 => 77);
        round_trip!($socket, tos_v4, set_tos_v4, IPPROTO_IP, IP_TOS, 0x28 => 0x28);
        $socket.set_send_buffer_size(20_000).unwrap();
        assert_eq!($socket.send_buffer_size().unwrap(), 40_000);
        $socket.set_recv_buffer_size(30_000).unwrap();
        assert_eq!($socket.recv_buffer_size().unwrap(), 60_000);
        assert_eq!($socket.set_ttl(0).unwrap_err().kind(), ErrorKind::InvalidInput);
        $socket.set_incoming_cpu(Some(0)).unwrap();
        assert_eq!($socket.incoming_cpu().unwrap(), Some(0));
        $socket.set_incoming_cpu(None).unwrap();
        assert_eq!($socket.incoming_cpu().unwrap(), None);
        assert_eq!($socket.incoming_napi_id().unwrap(), None);
        assert_eq!($socket.device().unwrap(), None);
        assert_eq!($socket.bind_device(Some(b"a name that is far too long")).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!($socket.bind_device(Some(b"nowhere0")).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        $socket.bind_device(Some(b"lo")).unwrap();
        assert_eq!($socket.device().unwrap().as_deref(), Some(&b"lo"[..]));
        if system::is_root() {
            $socket.bind_device(None).unwrap();
            assert_eq!($socket.device().unwrap(), None);
            round_trip!($socket, mark, set_mark, SOL_SOCKET, SO_MARK, 7 => 7, u32::MAX => -1);
            $socket.set_busy_poll(Duration::from_nanos(1_500)).unwrap();
            assert_eq!($socket.busy_poll().unwrap(), Duration::from_micros(2));
        } else {
            assert_eq!($socket.set_mark(7).unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
    };
}

/// Those of TCP.
macro_rules! of_tcp {
    ($socket:expr) => {
        round_trip!($socket, nodelay, set_nodelay, IPPROTO_TCP, TCP_NODELAY, true => 1, false => 0);
        round_trip!($socket, keepalive, set_keepalive, SOL_SOCKET, SO_KEEPALIVE, true => 1, false => 0);
        let seconds = Duration::from_secs;
        round_trip!($socket, keepalive_time, set_keepalive_time, IPPROTO_TCP, TCP_KEEPIDLE, seconds(40) => 40);
        round_trip!($socket, keepalive_interval, set_keepalive_interval, IPPROTO_TCP, TCP_KEEPINTVL, seconds(9) => 9);
        round_trip!($socket, keepalive_retries, set_keepalive_retries, IPPROTO_TCP, TCP_KEEPCNT, 4 => 4);
        $socket.set_keepalive_time(Duration::from_millis(1)).unwrap();
        assert_eq!($socket.keepalive_time().unwrap(), seconds(1));
        assert_eq!($socket.set_keepalive_time(Duration::ZERO).unwrap_err().kind(), ErrorKind::InvalidInput);
        let (some, none) = (Some(Duration::from_millis(1500)), None);
        round_trip!($socket, user_timeout, set_user_timeout, IPPROTO_TCP, TCP_USER_TIMEOUT, some => 1500, none => 0);
        round_trip!($socket, notsent_lowat, set_notsent_lowat, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384 => 16384);
        $socket.set_congestion("reno").unwrap();
        assert_eq!($socket.congestion().unwrap(), "reno");
        assert_eq!($socket.set_congestion("none such").unwrap_err().kind(), ErrorKind::NotFound);
    };
}

#[test]
fn what_is_set_is_what_the_kernel_has() {
    run(async {
        let socket = &TcpSocket::new_v4().unwrap();
        shared!(socket);
        of_tcp!(socket);
        round_trip!(socket, cork, set_cork, IPPROTO_TCP, TCP_CORK, true => 1, false => 0);
        round_trip!(socket, quickack, set_quickack, IPPROTO_TCP, TCP_QUICKACK, false => 0, true => 1);
        round_trip!(socket, fastopen_connect, set_fastopen_connect, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, true => 1);
        socket.set_mss(1200).unwrap();
        socket.set_linger(Some(Duration::from_millis(2500))).unwrap();
        assert_eq!(socket.linger().unwrap(), Some(Duration::from_secs(2)));
        socket.set_linger(None).unwrap();
        assert_eq!(socket.linger().unwrap(), None);
        assert!(socket.take_error().unwrap().is_none());

        let (listener, address) = listener().await;
        shared!(&listener);
        of_tcp!(&listener);
        round_trip!(&listener, fastopen, set_fastopen, IPPROTO_TCP, TCP_FASTOPEN, 16 => 16);
        listener.set_defer_accept(Duration::from_secs(1)).unwrap();
        assert!(listener.defer_accept().unwrap() >= Duration::from_secs(1));
        listener.set_defer_accept(Duration::ZERO).unwrap();

        let stream = &TcpStream::connect(address).await.unwrap();
        shared!(stream);
        of_tcp!(stream);
        round_trip!(stream, cork, set_cork, IPPROTO_TCP, TCP_CORK, true => 1, false => 0);

        if let Ok(socket) = TcpSocket::new_v6() {
            let socket = &socket;
            round_trip!(socket, tclass_v6, set_tclass_v6, IPPROTO_IPV6, IPV6_TCLASS, 0x28 => 0x28);
            round_trip!(socket, unicast_hops_v6, set_unicast_hops_v6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9 => 9);
            round_trip!(socket, only_v6, set_only_v6, IPPROTO_IPV6, IPV6_V6ONLY, true => 1, false => 0);
        }
    });
}

#[test]
fn a_socket_is_bound_connected_and_listens() {
    run(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_keepalive(true).unwrap();
        socket.set_mss(1000).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        assert!(format!("{socket:?}").contains(&address.port().to_string()));
        let listener = socket.listen(16).unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);

        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let from = socket.local_addr().unwrap();
        let (client, accepted) = futures::join!(socket.connect(address), listener.accept());
        let (mut client, (server, peer)) = (client.unwrap(), accepted.unwrap());
        assert_eq!((peer, client.local_addr().unwrap()), (from, from));
        assert!(server.keepalive().unwrap(), "it is inherited");
        client.write_all("hello").await.0.unwrap();
        let info = client.info().unwrap();
        assert!(info.snd_mss <= 1000, "{info:?}");

        // A port that is taken, and one that is free as soon as its socket is dropped.
        let socket = TcpSocket::new_v4().unwrap();
        same_error(socket.bind(address), std::net::TcpListener::bind(address));
        let bound = TcpSocket::new_v4().unwrap();
        bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound.local_addr().unwrap();
        drop(bound);
        socket.bind(address).unwrap();
        drop(listener);
        same_error(
            TcpSocket::new_v4().unwrap().connect(refusing(address)).await,
            std::net::TcpStream::connect(refusing(address)),
        );
    });
}

#[test]
fn listeners_that_share_a_port_share_the_connections() {
    run(async {
        let first = TcpListener::builder().reuseport(true).bind("127.0.0.1:0").await.unwrap();
        let address = first.local_addr().unwrap();
        let second = TcpListener::builder().reuseport(true).backlog(99).bind(address).await.unwrap();
        same_error(TcpListener::builder().bind(address).await, std::net::TcpListener::bind(address));
        let clients: Vec<_> = (0..64).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let mut counts = [0, 0];
        for _ in &clients {
            tokio::select! {
                accepted = first.accept() => { accepted.unwrap(); counts[0] += 1; }
                accepted = second.accept() => { accepted.unwrap(); counts[1] += 1; }
            }
        }
        assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
    });
}

#[test]
fn the_builder_says_what_is_needed_before_binding() {
    run(async {
        let listener = TcpListener::builder()
            .reuseaddr(false)
            .fastopen(7)
            .device(b"lo")
            .configure(|socket| socket.set_user_timeout(Some(Duration::from_secs(3))))
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        assert!(!listener.reuseaddr().unwrap());
        assert_eq!((listener.fastopen().unwrap(), listener.device().unwrap()), (7, Some(b"lo".to_vec())));
        assert_eq!(listener.user_timeout().unwrap(), Some(Duration::from_secs(3)));
        let failing =
            TcpListener::builder().configure(|_| Err(ErrorKind::Unsupported.into())).bind("127.0.0.1:0").await;
        assert_eq!(failing.unwrap_err().kind(), ErrorKind::Unsupported);

        // Both families, or one.
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            let both = TcpListener::builder().only_v6(false).bind("[::]:0").await.unwrap();
            let port = both.local_addr().unwrap().port();
            let _client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            assert!(both.accept().await.unwrap().1.ip().to_canonical().is_ipv4());
            let one = TcpListener::builder().only_v6(true).bind("[::]:0").await.unwrap();
            assert!(one.only_v6().unwrap());
            let port = one.local_addr().unwrap().port();
            assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
        }
    });
}

#[test]
fn a_corked_stream_sends_when_it_is_full_or_uncorked() {
    run(async {
        let (mut ours, mut peer) = with_std_peer();
        ours.set_cork(true).unwrap();
        ours.write_all("one ").await.0.unwrap();
        ours.write_all("two").await.0.unwrap();
        let held = ours.info().unwrap();
        ours.set_cork(false).unwrap();
        let mut buf = [0; 99];
        // One segment: both arrive at once.
        peer.set_read_timeout(Some(seconds(50))).unwrap();
        let count = peer.read(&mut buf).unwrap();
        assert_eq!(&buf[..count], b"one two");
        assert!(held.notsent_bytes == 7 || held.bytes_sent == 7, "{held:?}");
    });
}

#[test]
fn the_kernel_tells_about_a_connection() {
    run(async {
        let (mut ours, mut peer) = with_std_peer();
        ours.write_all(vec![1; 5000]).await.0.unwrap();
        peer.read_exact(&mut [0; 5000]).unwrap();
        peer.write_all(&[2; 300]).unwrap();
        ours.read_exact(Vec::with_capacity(300), 300).await.0.unwrap();
        let info = ours.info().unwrap();
        assert_eq!(info.state, TcpState::Established);
        assert_eq!((info.bytes_sent, info.bytes_received), (5000, 300), "{info:?}");
        assert!(info.data_segs_out >= 1 && info.data_segs_in >= 1 && info.segs_out > info.data_segs_out, "{info:?}");
        assert!(info.rtt > Duration::ZERO && info.rto >= Duration::from_millis(1), "{info:?}");
        assert!(info.snd_mss > 500 && info.pmtu > 500 && info.snd_cwnd > 0 && info.snd_wnd > 0, "{info:?}");
        assert!(
            info.timestamps && info.sack && info.snd_wscale.is_some() && info.max_pacing_rate.is_none(),
            "{info:?}"
        );
        drop(peer);
        assert_eq!(ours.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
        assert_eq!(ours.info().unwrap().state, TcpState::CloseWait);
    });
}

/// A connection whose peer has vanished without a word ends, though nothing is sent on it.
#[test]
fn a_peer_that_is_gone_is_found_out_by_keepalive() {
    if !system::is_root() {
        return eprintln!("skipped: a network namespace wants root");
    }
    system::in_network_namespace(|| {
        run(async {
            let (listener, address) = listener().await;
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_keepalive(true).unwrap();
            socket.set_keepalive_time(Duration::from_secs(1)).unwrap();
            socket.set_keepalive_interval(Duration::from_secs(1)).unwrap();
            socket.set_keepalive_retries(1).unwrap();
            let mut client = socket.connect(address).await.unwrap();
            let (_server, _) = listener.accept().await.unwrap();
            // From here on nothing gets through.
            system::set_loopback(false);
            let (result, _) = client.read(Vec::with_capacity(9)).await;
            let kind = result.unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable));
        });
    });
}

/// The second connection's first bytes come with it.
#[test]
fn fast_open_sends_the_first_bytes_with_the_connection() {
    if !system::is_root() {
        return eprintln!("skipped: a network namespace wants root");
    }
    system::in_network_namespace(|| {
        std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", "3").unwrap();
        run(async {
            let listener = TcpListener::builder().fastopen(16).bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            for round in 0..2 {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_fastopen_connect(true).unwrap();
                let mut client = socket.connect(address).await.unwrap();
                client.write_all("early").await.0.unwrap();
                let (mut server, _) = listener.accept().await.unwrap();
                let (result, buf) = server.read_exact(Vec::with_capacity(5), 5).await;
                result.unwrap();
                assert_eq!(buf, b"early");
                // The first time the client has no cookie yet.
                assert_eq!(client.info().unwrap().syn_data_acked, round == 1);
            }
        });
    });
}

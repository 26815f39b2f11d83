//! Listeners: addresses, accepting, and accepts that are dropped.

use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use ringtoss::net::{UnixListener, UnixStream};

use crate::util::*;

/// An abstract address that nobody else has.
pub fn abstract_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from_abstract_name(format!("ringtoss-test-{}-{number}", std::process::id())).unwrap()
}

#[test]
fn connections_are_accepted_at_paths_and_abstract_names() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let by_path = UnixListener::bind(&path).await.unwrap();
        assert_eq!(by_path.local_addr().unwrap().as_pathname(), Some(path.as_path()));
        let address = abstract_address();
        let by_name = UnixListener::bind_addr(&address).await.unwrap();
        assert_eq!(by_name.local_addr().unwrap().as_abstract_name(), address.as_abstract_name());
        for listener in [by_path, by_name] {
            let address = listener.local_addr().unwrap();
            let (client, server) = futures::join!(UnixStream::connect_addr(&address), listener.accept());
            let (mut client, (mut server, peer)) = (client.unwrap(), server.unwrap());
            assert!(peer.is_unnamed());
            assert_eq!(client.peer_addr().unwrap().as_pathname(), address.as_pathname());
            client.write_all("hello").await.0.unwrap();
            assert_eq!(server.read(Vec::with_capacity(9)).await.0.unwrap(), 5);
            assert!(format!("{listener:?}").contains("UnixListener"));
            assert!(listener.take_error().unwrap().is_none());
            listener.close().await.unwrap();
        }
        let client = UnixStream::connect(&path).await;
        assert_eq!(client.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_bound_peer_is_named() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client");
        let address = abstract_address();
        let listener = UnixListener::bind_addr(&address).await.unwrap();
        // std cannot bind a client.
        let client = bound_client(&path, &address);
        let (_server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.as_pathname(), Some(path.as_path()));
        drop(client);

        // One that came to a stream of connections and was not taken from that.
        let mut incoming = listener.incoming();
        {
            let mut next = std::pin::pin!(incoming.next());
            assert!(poll_once(&mut next).await.is_pending());
        }
        turn().await;
        std::fs::remove_file(&path).unwrap();
        let _client = bound_client(&path, &address);
        turn().await;
        turn().await;
        drop(incoming);
        let (_server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.as_pathname(), Some(path.as_path()));
    });
}

#[test]
fn one_submission_serves_many_accepts() {
    run(async {
        let address = abstract_address();
        let listener = UnixListener::bind_addr(&address).await.unwrap();
        let mut incoming = listener.incoming();
        for round in 0..50u8 {
            let mut client = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
            client.write_all(&[round]).unwrap();
            let mut server = incoming.next().await.unwrap();
            let (result, buf) = server.read(Vec::with_capacity(9)).await;
            assert_eq!((result.unwrap(), &buf[..]), (1, &[round][..]));
        }
    });
}

/// A stream that is bound to a path before it is connected.
#[allow(unsafe_code, reason = "system calls")]
fn bound_client(path: &std::path::Path, to: &SocketAddr) -> std::os::fd::OwnedFd {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;
    let encode = |bytes: &[u8], from: usize| {
        let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
        for (to, &byte) in address.sun_path[from..].iter_mut().zip(bytes) {
            *to = byte as libc::c_char;
        }
        (address, (2 + from + bytes.len()) as libc::socklen_t)
    };
    let (own, own_len) = encode(path.as_os_str().as_bytes(), 0);
    let (to, to_len) = encode(to.as_abstract_name().unwrap(), 1);
    // SAFETY: the addresses live over the calls with the lengths that are passed, and the number is new.
    unsafe {
        let fd = OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0));
        assert_eq!(libc::bind(fd.as_raw_fd(), (&raw const own).cast(), own_len), 0);
        assert_eq!(libc::connect(fd.as_raw_fd(), (&raw const to).cast(), to_len), 0);
        fd
    }
}

/// The kernel lets a path be one byte longer than std can say.
#[test]
fn a_peer_whose_path_std_cannot_say_is_accepted_all_the_same() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let mut path = folder.path().join("x").into_os_string();
        while path.len() < 108 {
            path.push("x");
        }
        let address = abstract_address();
        let listener = UnixListener::bind_addr(&address).await.unwrap();
        let _client = bound_client(path.as_ref(), &address);
        let (_server, peer) = listener.accept().await.unwrap();
        assert!(peer.as_pathname().is_none_or(|name| name == std::path::Path::new(&path)));
    });
}

#[test]
fn errors_are_those_of_std() {
    run(async {
        use std::os::unix::net::UnixListener as Std;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _listener = UnixListener::bind(&path).await.unwrap();
        same_error(UnixListener::bind(&path).await, Std::bind(&path));
        let nowhere = folder.path().join("no/where");
        same_error(UnixListener::bind(&nowhere).await, Std::bind(&nowhere));
        for path in ["x".repeat(108), "nul\0inside".to_string()] {
            same_error(UnixListener::bind(&path).await, Std::bind(&path));
        }
        let address = abstract_address();
        let _held = UnixListener::bind_addr(&address).await.unwrap();
        same_error(UnixListener::bind_addr(&address).await, Std::bind_addr(&address));
    });
}

#[test]
fn a_dropped_accept_leaves_its_connection_to_the_next() {
    run(async {
        let address = abstract_address();
        let listener = UnixListener::bind_addr(&address).await.unwrap();
        for round in 0..40 {
            let mut accept = listener.accept();
            assert!(poll_once(&mut accept).await.is_pending());
            if round % 2 == 0 {
                turn().await;
            }
            let mut client = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
            if round % 4 == 0 {
                turn().await;
                turn().await;
            }
            drop(accept);
            let (mut server, peer) = listener.accept().await.unwrap();
            assert!(peer.is_unnamed());
            client.write_all(b"it is me").unwrap();
            let (result, buf) = server.read_exact(Vec::with_capacity(8), 8).await;
            result.unwrap();
            assert_eq!(buf, b"it is me");
        }
    });
}

#[test]
fn a_dropped_listener_frees_its_name_and_hangs_up_on_whoever_waits() {
    run(async {
        let address = abstract_address();
        for _ in 0..30 {
            let listener = UnixListener::bind_addr(&address).await.unwrap();
            let mut client = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
            assert!(poll_and_drop(listener.accept()).await.is_none());
            let mut accept = listener.accept();
            let _ = poll_once(&mut accept).await;
            turn().await;
            drop(accept);
            drop(listener);
            let mut read = Vec::new();
            let _ = client.read_to_end(&mut read);
            assert!(read.is_empty());
        }
    });
}

/// `connect(2)` waits while the queue is full, and so does ours, without holding up the loop.
#[test]
fn a_connect_waits_for_its_place_in_the_queue() {
    run(async {
        let address = abstract_address();
        let std = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        shorten_queue(&std);
        let connects: Vec<_> = (0..8)
            .map(|_| {
                let address = address.clone();
                ringtoss::spawn(async move { UnixStream::connect_addr(&address).await })
            })
            .collect();
        for _ in 0..50 {
            turn().await;
        }
        assert!(connects.iter().any(|connect| !connect.is_finished()));
        let listener = UnixListener::from_std(std);
        let mut accepted = Vec::new();
        for _ in 0..8 {
            accepted.push(listener.accept().await.unwrap());
        }
        for connect in connects {
            connect.await.unwrap().unwrap();
        }
    });
}

#[allow(unsafe_code, reason = "a system call")]
fn shorten_queue(listener: &impl std::os::fd::AsRawFd) {
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 1) }, 0);
}

#[test]
fn listeners_go_to_std_and_back() {
    run(async {
        let address = abstract_address();
        let listener = UnixListener::bind_addr(&address).await.unwrap();
        let mut accept = listener.accept();
        assert!(poll_once(&mut accept).await.is_pending());
        turn().await;
        drop(accept);
        let std = listener.into_std().unwrap();
        let _client = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
        let listener = UnixListener::from_std(std);
        let mut accept = listener.accept();
        let _ = poll_once(&mut accept).await;
        turn().await;
        turn().await;
        drop(accept);
        let failure = listener.into_std().unwrap_err();
        assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
        failure.into_inner().accept().await.unwrap();
    });
}

#[test]
fn a_socket_is_bound_before_it_becomes_what_it_will_be() {
    use ringtoss::net::unix::UnixSocket;
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let server = UnixSocket::new_stream().unwrap();
        server.bind(at("server")).await.unwrap();
        assert_eq!(
            UnixSocket::new_stream().unwrap().bind(at("server")).await.unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        let listener = server.listen(4).unwrap();
        let client = UnixSocket::new_stream().unwrap();
        client.bind(at("client")).await.unwrap();
        let mut stream = client.connect(at("server")).await.unwrap();
        let (mut peer, address) = listener.accept().await.unwrap();
        assert_eq!(address.as_pathname(), Some(&*at("client")));
        stream.write_all("hi").await.0.unwrap();
        assert_eq!(peer.read(Vec::with_capacity(8)).await.1, b"hi");
        let datagram = UnixSocket::new_datagram().unwrap();
        datagram.bind(at("datagram")).await.unwrap();
        let datagram = datagram.datagram().unwrap();
        let sender = UnixSocket::new_datagram().unwrap().datagram().unwrap();
        sender.send_to("message", at("datagram")).await.0.unwrap();
        assert_eq!(datagram.recv(Vec::with_capacity(16)).await.1, b"message");
        // What it is not, it does not become.
        let invalid = ErrorKind::InvalidInput;
        assert_eq!(UnixSocket::new_datagram().unwrap().listen(1).unwrap_err().kind(), invalid);
        assert_eq!(UnixSocket::new_datagram().unwrap().connect(at("server")).await.unwrap_err().kind(), invalid);
        assert_eq!(UnixSocket::new_stream().unwrap().datagram().unwrap_err().kind(), invalid);
        drop(listener);
        let refused = UnixSocket::new_stream().unwrap().connect(at("server")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

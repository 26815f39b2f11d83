//! Descriptors of sockets: none is lost, none is closed too often, and there may be none to be had. A process of its own,
//! because it counts and limits them; its tests take turns.
#![allow(unsafe_code, reason = "the limit of open files")]

#[path = "patience/mod.rs"]
mod patience;

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use ringtoss::net::{Socket, TcpListener, TcpStream};

use patience::*;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

async fn turn() {
    ringtoss::op::nop().await.unwrap();
}

/// Waits until there are as many as before.
async fn back_to(before: usize, what: &str) {
    for _ in 0..20_000 {
        if descriptors() == before {
            return;
        }
        ringtoss::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(descriptors(), before, "after {what}: {:?}", names());
}

fn names() -> Vec<std::path::PathBuf> {
    let folder = std::fs::read_dir("/proc/self/fd").unwrap();
    folder.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect()
}

/// A listener whose queue is full lets further connects wait.
async fn unresponsive() -> (TcpListener, SocketAddr, Vec<StdStream>) {
    let listener = TcpListener::bind_with_backlog("127.0.0.1:0", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut fill = Vec::new();
    while let Ok(stream) = StdStream::connect_timeout(&address, Duration::from_millis(100)) {
        fill.push(stream);
    }
    (listener, address, fill)
}

#[test]
fn connects_that_are_dropped_leave_no_descriptor() {
    let _alone = alone();
    run(async {
        let (_full, waits, _fill) = unresponsive().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answers = listener.local_addr().unwrap();
        let refuses = SocketAddr::from(([127, 9, 9, 9], answers.port()));
        turn().await;
        let before = descriptors();
        for round in 0..600 {
            let addresses = [[refuses, waits], [refuses, answers], [waits, answers]][round % 3];
            let mut connecting = Box::pin(TcpStream::connect(addresses));
            for _ in 0..round / 3 % 9 {
                if poll_once(&mut connecting).await.is_ready() {
                    // A future that is done is not polled again.
                    connecting = Box::pin(TcpStream::connect(addresses));
                }
                turn().await;
            }
            drop(connecting);
        }
        back_to(before, "connects that were dropped").await;
        for _ in 0..100 {
            TcpStream::connect(refuses).await.unwrap_err();
        }
        back_to(before, "connects that were refused").await;
        let error = ringtoss::time::timeout(Duration::from_millis(5), TcpStream::connect(waits)).await;
        error.unwrap_err();
        back_to(before, "a connect that was too late").await;
    });
}

#[test]
fn accepts_that_are_dropped_leave_no_descriptor() {
    let _alone = alone();
    run(async {
        turn().await;
        let before = descriptors();
        for round in 0..300 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (mut first, mut second) = (listener.accept(), listener.accept());
            assert!(poll_once(&mut first).await.is_pending());
            assert!(poll_once(&mut second).await.is_pending());
            turn().await;
            let clients = [StdStream::connect(address).unwrap(), StdStream::connect(address).unwrap()];
            for _ in 0..round % 4 {
                turn().await;
            }
            if round % 5 == 0 {
                std::thread::scope(|scope| scope.spawn(|| drop(first)).join().unwrap());
            } else {
                drop(first);
            }
            drop(second);
            match round % 3 {
                0 => drop(listener),
                1 => listener.close().await.unwrap(),
                _ => {
                    turn().await;
                    std::thread::spawn(move || drop(listener)).join().unwrap();
                }
            }
            drop(clients);
        }
        back_to(before, "accepts that were dropped").await;
    });
}

#[test]
fn streams_are_closed_once_wherever_they_go() {
    let _alone = alone();
    let outside = descriptors();
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        turn().await;
        let before = descriptors();
        for round in 0..300 {
            let (client, accepted) = futures::join!(TcpStream::connect(address), listener.accept());
            let (mut client, mut server) = (client.unwrap(), accepted.unwrap().0);
            let mut read = client.read(Vec::with_capacity(9));
            assert!(poll_once(&mut read).await.is_pending());
            if round % 2 == 0 {
                turn().await;
            }
            drop(read);
            server.write_all("x").await.0.unwrap_or_else(|e| panic!("round {round} {e} {server:?} {client:?}"));
            match round % 6 {
                0 => drop(client),
                1 => client.close().await.unwrap(),
                2 => drop(client.into_parts().unwrap()),
                3 => std::thread::spawn(move || drop(client)).join().unwrap(),
                4 => drop(client.into_split()),
                _ => {
                    let used = std::thread::spawn(move || {
                        run(async {
                            client.read(Vec::with_capacity(9)).await.0.unwrap();
                            if round % 4 == 1 { Some(client) } else { None }
                        })
                    });
                    while !used.is_finished() {
                        turn().await;
                    }
                    drop(used.join().unwrap());
                }
            }
            let mut closing = Box::pin(server.close());
            for _ in 0..round % 3 {
                if poll_once(&mut closing).await.is_ready() {
                    break;
                }
                turn().await;
            }
        }
        back_to(before, "streams of all kinds").await;
    });
    assert_eq!(descriptors(), outside, "after the loop");
}

/// Closes that wait for a thread of the kernel's would be forgotten with the ring.
#[test]
fn a_loop_that_ends_with_many_streams_that_linger_closes_them_all() {
    let _alone = alone();
    let before = descriptors();
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut both = Vec::new();
        for _ in 0..100 {
            let (client, accepted) = futures::join!(TcpStream::connect(address), listener.accept());
            let (client, server) = (client.unwrap(), accepted.unwrap().0);
            client.set_linger(Some(Duration::from_secs(1))).unwrap();
            both.push((client, server));
        }
    });
    assert_eq!(descriptors(), before);
}

/// Lets the process have so many more descriptors than it has now.
fn allow(more: usize) {
    // The folder that is read to count them is one of them.
    let limit = libc::rlimit { rlim_cur: (descriptors() - 1 + more) as libc::rlim_t, rlim_max: hard_limit() };
    // SAFETY: the structure lives over the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

fn hard_limit() -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives over the call.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_max
}

/// The connection waits meanwhile, and is accepted when there is a descriptor again.
#[test]
fn without_descriptors_accept_fails_as_that_of_std_and_goes_on_afterwards() {
    let _alone = alone();
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut spare = Vec::new();
        let (first, mut second) = futures::join!(TcpStream::connect(address), listener.accept());
        let first = first.unwrap();
        let clients = [StdStream::connect(address).unwrap(), StdStream::connect(address).unwrap()];
        turn().await;
        allow(10);
        while let Ok(more) = std.try_clone() {
            spare.push(more);
        }
        let (ours, theirs) = (listener.accept().await.unwrap_err(), std.accept().unwrap_err());
        assert_eq!((ours.kind(), ours.raw_os_error()), (theirs.kind(), Some(libc::EMFILE)));
        assert_eq!(ours.raw_os_error(), theirs.raw_os_error());
        let error = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        let error = TcpListener::bind("127.0.0.1:0").await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        // One that is about to be closed is enough, also if the kernel comes to that after it has refused.
        let mut accept = listener.accept();
        assert!(poll_once(&mut accept).await.is_pending());
        drop(first);
        let (stream, peer) = accept.await.unwrap();
        assert_eq!(peer, clients[0].local_addr().unwrap());
        assert_eq!(listener.accept().await.unwrap_err().raw_os_error(), Some(libc::EMFILE));
        drop((stream, second.as_mut().map(drop)));
        drop(second);
        assert_eq!(listener.accept().await.unwrap().1, clients[1].local_addr().unwrap());
        drop(spare);
        allow(100);
        let late = StdStream::connect(address).unwrap();
        assert_eq!(listener.accept().await.unwrap().1, late.local_addr().unwrap());
    });
}

/// Looking a name up may take as long as it likes: it has a thread of its own, and the loop goes on.
#[test]
fn names_are_resolved_on_the_blocking_pool() {
    let _alone = alone();
    let outside = descriptors();
    let event_loop = ringtoss::EventLoop::builder().max_blocking_threads(1).build().unwrap();
    event_loop.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = format!("localhost:{}", listener.local_addr().unwrap().port());
        let (release, wait) = std::sync::mpsc::channel::<()>();
        // The pool's only thread is busy, so nothing is resolved before it is free.
        let busy = ringtoss::spawn_blocking(move || {
            let _ = wait.recv_timeout(patience());
        });
        let mut connecting = Box::pin(TcpStream::connect(name));
        for _ in 0..20 {
            assert!(poll_once(&mut connecting).await.is_pending());
            turn().await;
        }
        drop(release);
        busy.await.unwrap();
        connecting.await.unwrap();
    });
    drop(event_loop);
    // The thread keeps a way to wake the loop, an eventfd, for a moment longer than the loop lives.
    let start = std::time::Instant::now();
    while descriptors() != outside {
        assert!(start.elapsed() < patience(), "{:?}", names());
        std::thread::yield_now();
    }
}

/// The kernel says who has sent something by a descriptor, or by an error in its place: here that there is none to be had.
#[test]
fn an_error_in_the_place_of_a_descriptor_is_none() {
    let _alone = alone();
    const SO_PASSPIDFD: i32 = 76;
    run(async {
        let (receiver, sender) = Socket::pair(libc::AF_UNIX, libc::SOCK_DGRAM, 0).unwrap();
        // SAFETY: the value is a number.
        if unsafe { receiver.set_option(libc::SOL_SOCKET, SO_PASSPIDFD, &1i32.to_ne_bytes()) }.is_err() {
            return eprintln!("not tried: needs Linux 6.5");
        }
        sender.send("one").await.0.unwrap();
        sender.send("other").await.0.unwrap();
        let file = std::fs::File::open("/").unwrap();
        allow(10);
        let all: Vec<_> = std::iter::from_fn(|| file.try_clone().ok()).collect();
        let received = receiver.recv_msg(Vec::with_capacity(9)).await;
        drop(all);
        allow(100);
        assert_eq!((received.0.unwrap().fds.len(), &received.1[..]), (0, &b"one"[..]));
        let received = receiver.recv_msg(Vec::with_capacity(9)).await;
        assert_eq!((received.0.unwrap().fds.len(), &received.1[..]), (1, &b"other"[..]));
    });
}

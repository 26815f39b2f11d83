//! Crowds: connections that come and go all at once, and readers that are slower than what is sent to them.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringtoss::net::{TcpListener, TcpStream};

use crate::util::*;

/// How many connections: as many as an environment variable says, or as the limit of open files allows.
fn crowd() -> usize {
    let wanted = std::env::var("RINGTOSS_CONNECTIONS").map_or(2000, |count| count.parse().unwrap());
    wanted.min(raise_open_files(wanted as u64 + 200) as usize - 200)
}

/// Raises the limit of open files as far as it may be, and gives it.
fn raise_open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives over the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        if limit.rlim_max < wanted && is_root() {
            let more = libc::rlimit { rlim_cur: wanted, rlim_max: wanted };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const more) == 0 {
                return wanted;
            }
        }
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    limit.rlim_max
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn question(index: usize) -> Vec<u8> {
    pattern(index, 32)
}

/// Clients, on a loop of their own process: storm after storm, each at once, and all gone at once.
pub fn clients(port: u16, count: usize) {
    assert!(raise_open_files(count as u64 + 200) >= count as u64 + 200);
    run(async {
        for _ in 0.. {
            let mut go = String::new();
            if ringtoss::spawn_blocking(move || std::io::stdin().read_line(&mut go).unwrap()).await.unwrap() == 0 {
                return;
            }
            let connecting: Vec<_> = (0..count)
                .map(|index| {
                    ringtoss::spawn(async move {
                        // Several addresses of ours, because one has too few ports for a crowd that comes again.
                        let address = SocketAddr::from(([127, 0, 1, (index % 8) as u8], port));
                        let mut stream = TcpStream::connect(address).await.unwrap();
                        stream.write_all(question(index)).await.0.unwrap();
                        let (result, answer) = stream.read_exact(Vec::with_capacity(32), 32).await;
                        result.unwrap();
                        assert_eq!(answer, question(index));
                        stream
                    })
                })
                .collect();
            let mut streams = Vec::new();
            for connecting in connecting {
                streams.push(connecting.await.unwrap());
            }
            say(streams.len());
            let mut leave = String::new();
            ringtoss::spawn_blocking(move || std::io::stdin().read_line(&mut leave).unwrap()).await.unwrap();
            // Some are reset, most are closed.
            for (index, stream) in streams.into_iter().enumerate() {
                if index % 4 == 0 {
                    stream.set_zero_linger().unwrap();
                }
                drop(stream);
            }
            quiet().await;
            say("left");
        }
    });
}

async fn serve(mut stream: TcpStream, open: Rc<Cell<usize>>) {
    open.set(open.get() + 1);
    loop {
        let (result, buf) = stream.read(Vec::with_capacity(64)).await;
        match result {
            Ok(1..) => stream.write_all(buf).await.0.unwrap(),
            Ok(0) | Err(_) => break,
        }
    }
    open.set(open.get() - 1);
}

#[test]
fn storms_of_connections_that_all_leave_at_once() {
    if !alone("crowds::storms_of_connections_that_all_leave_at_once") {
        return;
    }
    let count = crowd();
    run(async {
        let listener = TcpListener::bind_with_backlog("0.0.0.0:0", 4096).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Rc::new(Cell::new(0));
        let accepting = ringtoss::spawn({
            let open = open.clone();
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    drop(ringtoss::spawn(serve(stream, open.clone())));
                }
            }
        });
        let mut other = Other::start(&format!("crowd {port} {count}"));
        let mut ask = other.stdin.take().unwrap();
        let other = std::sync::Arc::new(std::sync::Mutex::new(other));
        let hear = || {
            let other = other.clone();
            async move { ringtoss::spawn_blocking(move || other.lock().unwrap().line()).await.unwrap() }
        };
        turn().await;
        let before = (open_files(), ringtoss::metrics().in_flight);
        let mut resident = Vec::new();
        for _ in 0..4 {
            ask.write_all(b"come\n").unwrap();
            assert_eq!(hear().await, count.to_string());
            assert_eq!(open.get(), count);
            ask.write_all(b"leave\n").unwrap();
            assert_eq!(hear().await, "left");
            while open.get() > 0 || ringtoss::metrics().in_flight > before.1 {
                turn().await;
            }
            assert_eq!(open_files(), before.0, "a descriptor is left of a connection");
            resident.push(resident_kib());
        }
        println!("{count} connections, 4 storms: {resident:?} KiB resident after each");
        // Memory is what the first storm took, and is used again.
        assert!(resident[3] <= resident[0] + resident[0] / 4 + 2048, "{resident:?}");
        assert_eq!(ringtoss::metrics().stale_completions, 0);
        accepting.abort();
        drop(ask);
    });
}

/// A server that sends to readers which do not read: what waits for them is one buffer each, and what the kernel's socket
/// buffers hold.
#[test]
fn readers_that_do_not_read_make_memory_grow_no_further() {
    if !alone("crowds::readers_that_do_not_read_make_memory_grow_no_further") {
        return;
    }
    const READERS: usize = 64;
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, alive) = (Rc::new(Cell::new(0u64)), Rc::new(Cell::new(0usize)));
        let mut peers = Vec::new();
        for _ in 0..READERS {
            peers.push(std::net::TcpStream::connect(address).unwrap());
            let (mut stream, _) = listener.accept().await.unwrap();
            let (sent, alive) = (sent.clone(), alive.clone());
            drop(ringtoss::spawn(async move {
                for at in 0.. {
                    alive.set(alive.get() + 1);
                    let (result, buf) = stream.write_all(pattern(at * 16_384, 16_384)).await;
                    drop(buf);
                    alive.set(alive.get() - 1);
                    if result.is_err() {
                        return;
                    }
                    sent.set(sent.get() + 16_384);
                }
            }));
        }
        // Until nothing moves any more.
        let mut last = u64::MAX;
        while last != sent.get() {
            last = sent.get();
            ringtoss::time::sleep(Duration::from_millis(100)).await;
        }
        let stuck = resident_kib();
        assert_eq!(alive.get(), READERS, "one buffer a reader");
        assert_eq!(ringtoss::metrics().in_flight as usize, READERS);
        // Time makes it no worse.
        ringtoss::time::sleep(Duration::from_millis(300)).await;
        assert_eq!((alive.get(), sent.get()), (READERS, last));
        assert!(resident_kib() <= stuck + 1024);
        // And one that reads after all gets it in order.
        let mut late = peers.pop().unwrap();
        let read = ringtoss::spawn_blocking(move || {
            let mut bytes = vec![0; 8 << 20];
            late.read_exact(&mut bytes).unwrap();
            check(&bytes, 0);
        });
        read.await.unwrap();
        drop(peers);
        quiet().await;
        assert_eq!(alive.get(), 0);
    });
}

/// A peer that floods a stream which nobody reads: a stream of leases stops at its bound, and goes on when it is read.
#[test]
fn a_flood_that_nobody_takes_is_held_up_at_the_peer() {
    if !alone("crowds::a_flood_that_nobody_takes_is_held_up_at_the_peer") {
        return;
    }
    const LEN: usize = 32 << 20;
    let event_loop = ringtoss::EventLoop::builder().lease_buffers(4096, 64).build().unwrap();
    event_loop.block_on(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut peer = listener.accept().unwrap().0;
        peer.set_write_timeout(Some(patience())).unwrap();
        let sending = std::thread::spawn(move || peer.write_all(&pattern(0, LEN)).unwrap());
        let mut receiving = stream.recv_stream();
        let first = receiving.next().await.unwrap().unwrap();
        check(&first, 0);
        let mut at = first.len();
        drop(first);
        let before = resident_kib();
        for _ in 0..20 {
            ringtoss::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(resident_kib() <= before + 4096, "more than its buffers has been taken in");
        assert!(!sending.is_finished());
        while at < LEN {
            let lease = receiving.next().await.unwrap().unwrap();
            check(&lease, at);
            at += lease.len();
        }
        drop(receiving);
        ringtoss::spawn_blocking(move || sending.join().unwrap()).await.unwrap();
    });
}

//! Receives that lose races, over and over: every datagram is accounted for.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringtoss::net::UdpSocket;
use ringtoss::time::sleep;

use crate::basics::{socket, std_socket};
use crate::util::*;

/// How many datagrams are on the way at most: the socket's queue has room for more, so that none is dropped there.
const WINDOW: u64 = 64;

/// Sends so many numbered datagrams from a thread, no more at once than the receiver can hold.
fn send_numbers(to: SocketAddr, count: u64, seen: Arc<AtomicU64>) -> (std::thread::JoinHandle<()>, SocketAddr) {
    let (peer, address) = std_socket();
    let thread = std::thread::spawn(move || {
        for number in 0..count {
            while number >= seen.load(Ordering::Acquire) + WINDOW {
                std::thread::yield_now();
            }
            // Some are empty but for the number, some are long.
            let mut bytes = number.to_le_bytes().to_vec();
            bytes.resize(8 + (number % 7 * 100) as usize, number as u8);
            peer.send_to(&bytes, to).unwrap();
        }
    });
    (thread, address)
}

/// The number in a datagram, which is whole.
fn number(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes.len(), 8 + (number % 7 * 100) as usize);
    assert!(bytes[8..].iter().all(|&byte| byte == number as u8));
    number
}

async fn distraction(choice: usize) {
    match choice {
        0 => {}
        1 => ringtoss::yield_now().await,
        2 | 3 => turn().await,
        _ => sleep(Duration::from_micros(30)).await,
    }
}

/// One receive of some kind, perhaps dropped.
async fn round(socket: &UdpSocket, random: &mut Random, from: SocketAddr) -> Option<u64> {
    let buf = Vec::with_capacity(2000);
    let other = distraction(random.below(5));
    match random.below(6) {
        0 => tokio::select! {
            (result, buf) = socket.recv(buf) => {
                result.unwrap();
                Some(number(&buf))
            }
            _ = other => None,
        },
        1 => tokio::select! {
            biased;
            _ = other => None,
            (result, buf) = socket.recv_msg(buf) => {
                assert_eq!(result.unwrap().from, from);
                Some(number(&buf))
            }
        },
        2 => {
            tokio::select! {
                (result, buf) = socket.peek_from(buf) => {
                    assert_eq!(result.unwrap().1, from);
                    number(&buf);
                }
                _ = other => {}
            }
            None
        }
        3 => {
            tokio::select! {
                result = socket.readable() => result.unwrap(),
                _ = other => {}
            }
            None
        }
        _ => tokio::select! {
            (result, buf) = socket.recv_from(buf) => {
                assert_eq!(result.unwrap().1, from);
                Some(number(&buf))
            }
            _ = other => None,
        },
    }
}

#[test]
fn a_select_loop_receives_every_datagram_once_and_in_order() {
    for connected in [false, true] {
        run(async {
            let (socket, address) = socket().await;
            let seen = Arc::new(AtomicU64::new(0));
            let count = often(20_000) as u64;
            let (thread, from) = send_numbers(address, count, seen.clone());
            if connected {
                socket.connect(from).await.unwrap();
            }
            let mut random = Random(0x5eed_4001);
            let mut next = 0;
            while next < count {
                if let Some(number) = round(&socket, &mut random, from).await {
                    assert_eq!(number, next);
                    next += 1;
                    seen.store(next, Ordering::Release);
                }
            }
            thread.join().unwrap();
            let (result, _) = socket.recv(Vec::with_capacity(9)).timeout(Duration::from_millis(5)).await;
            assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        });
    }
}

/// Several tasks receive on one socket, and all of them drop receives.
#[test]
fn select_loops_beside_each_other_receive_every_datagram_once() {
    run(async {
        let (socket, address) = socket().await;
        let socket = Rc::new(socket);
        let seen = Arc::new(AtomicU64::new(0));
        let count = often(20_000) as u64;
        let (thread, from) = send_numbers(address, count, seen.clone());
        let numbers = Rc::new(RefCell::new(vec![0u32; count as usize]));
        let tasks: Vec<_> = (0..3)
            .map(|index| {
                let (socket, seen, numbers) = (socket.clone(), seen.clone(), numbers.clone());
                ringtoss::spawn(async move {
                    let mut random = Random(0x5eed_5001 + index);
                    while seen.load(Ordering::Acquire) < count {
                        let got = tokio::select! {
                            got = round(&socket, &mut random, from) => got,
                            // The others may have taken the last.
                            _ = sleep(Duration::from_millis(2)) => None,
                        };
                        if let Some(number) = got {
                            numbers.borrow_mut()[number as usize] += 1;
                            seen.fetch_add(1, Ordering::AcqRel);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        thread.join().unwrap();
        assert!(numbers.borrow().iter().all(|&times| times == 1));
    });
}

/// The same on loops of several threads.
#[test]
fn select_loops_of_several_threads_receive_every_datagram_once() {
    run_watched(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let socket = Arc::new(UdpSocket::from_std(socket));
        let seen = Arc::new(AtomicU64::new(0));
        let count = often(6_000) as u64;
        let (sender, from) = send_numbers(address, count, seen.clone());
        let loops: Vec<_> = (0..2)
            .map(|index| {
                let (socket, seen) = (socket.clone(), seen.clone());
                std::thread::spawn(move || {
                    run(async {
                        let mut random = Random(0x5eed_6001 + index);
                        let mut numbers = Vec::new();
                        while seen.load(Ordering::Acquire) < count {
                            let got = tokio::select! {
                                got = round(&socket, &mut random, from) => got,
                                _ = sleep(Duration::from_millis(2)) => None,
                            };
                            if let Some(number) = got {
                                numbers.push(number);
                                seen.fetch_add(1, Ordering::AcqRel);
                            }
                        }
                        numbers
                    })
                })
            })
            .collect();
        let mut numbers: Vec<u64> = loops.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        sender.join().unwrap();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..count));
    });
}

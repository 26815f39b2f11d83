//! Sockets of every kind.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use ringtoss::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, UdpSocket, UnixStream};
use ringtoss::task::JoinSet;
use ringtoss::{io, spawn, time};

use crate::{Kind, check, count, goes_on, pattern};

pub async fn start(work: &mut JoinSet<()>) -> Result<()> {
    let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await?);
    for number in 0..48 {
        work.spawn(echoed(listener.clone(), number));
    }
    for number in 0..8 {
        let (one, other) = pair().await?;
        work.spawn(selecting(one, other, number));
        let (one, other) = pair().await?;
        work.spawn(leasing(one, other));
        work.spawn(datagrams(number));
        work.spawn(unix_pair(number));
    }
    for _ in 0..2 {
        let (one, other) = pair().await?;
        work.spawn(without_copying(one, other));
        let (one, other) = pair().await?;
        work.spawn(spliced(one, other));
    }
    Ok(())
}

async fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (one, other) = futures::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
    Ok((one?, other?.0))
}

/// A connection for a hundred messages, then another; the end that accepts is whichever.
async fn echoed(listener: Rc<TcpListener>, number: usize) {
    let address = listener.local_addr().unwrap();
    while goes_on() {
        let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
        let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
        // The two are not necessarily each other's: each serves what comes, and ends with its peer.
        let serving = spawn(async move {
            loop {
                let (result, bytes) = server.read(Vec::with_capacity(16_384)).await;
                if !matches!(result, Ok(1..)) || server.write_all(bytes).await.0.is_err() {
                    return;
                }
            }
        });
        for round in 0..100 {
            let len = 1 + fastrand::usize(..8192);
            client.write_all(pattern(number + round, len)).await.0.unwrap();
            let (result, bytes) = client.read_exact(Vec::with_capacity(len), len).await;
            result.unwrap();
            check(&bytes, number + round);
            count(Kind::Echo);
        }
        // Gone with a reset now and then.
        if fastrand::u8(..) < 64 {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        serving.await.unwrap();
    }
}

async fn pour(mut writer: OwnedWriteHalf) {
    let mut at = 0;
    while goes_on() {
        let len = 1 + fastrand::usize(..20_000);
        let (result, _) = writer.write_all(pattern(at, len)).await;
        result.unwrap();
        at += len;
        if fastrand::u8(..) < 8 {
            time::sleep(Duration::from_millis(2)).await;
        }
    }
    writer.shutdown().await.unwrap();
}

/// Reads that are dropped whenever a timer comes first: what they bring comes with the next.
async fn selecting(one: TcpStream, other: TcpStream, number: usize) {
    let (mut reader, _keeps_open) = one.into_split();
    let pouring = spawn(pour(other.into_split().1));
    let mut at = 0;
    loop {
        let limit = Duration::from_micros(fastrand::u64(..(50 + number as u64 * 100)));
        let read = reader.read(Vec::with_capacity(1 + fastrand::usize(..8192)));
        count(Kind::Select);
        let Ok((result, bytes)) = time::timeout(limit, read).await else { continue };
        if result.unwrap() == 0 {
            break;
        }
        check(&bytes, at);
        at += bytes.len();
        ringtoss::yield_now().await;
    }
    pouring.await.unwrap();
}

async fn leasing(mut one: TcpStream, other: TcpStream) {
    let pouring = spawn(pour(other.into_split().1));
    let mut at = 0;
    'all: loop {
        // A stream of leases, dropped with some at hand, and begun anew.
        let mut leases = one.recv_stream();
        for _ in 0..fastrand::usize(1..200) {
            let Some(lease) = leases.next().await else { break 'all };
            let lease = lease.unwrap();
            check(&lease, at);
            at += lease.len();
            count(Kind::Leases);
        }
        drop(leases);
        if let Some(lease) = one.recv().await.unwrap() {
            check(&lease, at);
            at += lease.len();
        }
        ringtoss::yield_now().await;
    }
    pouring.await.unwrap();
}

async fn datagrams(number: usize) {
    let one = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = Rc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let (here, there) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    let answering = spawn(async move {
        loop {
            let ((result, bytes), socket) = (other.recv_from(Vec::with_capacity(2048)).await, &other);
            assert_eq!(result.unwrap().1, here);
            if bytes.is_empty() {
                return;
            }
            socket.send_to(bytes, here).await.0.unwrap();
        }
    });
    let mut round = number;
    while goes_on() {
        round += 1;
        let len = 1 + round % 1400;
        one.send_to(pattern(round, len), there).await.0.unwrap();
        // A receive that is dropped first: its datagram comes out of the next.
        let _ = time::timeout(Duration::ZERO, one.recv_from(Vec::with_capacity(2048))).await;
        let (result, bytes) = one.recv_from(Vec::with_capacity(2048)).await;
        assert_eq!(result.unwrap(), (len, there));
        check(&bytes, round);
        count(Kind::Datagrams);
        if round.is_multiple_of(64) {
            time::sleep(Duration::from_millis(1)).await;
        }
    }
    one.send_to(Vec::new(), there).await.0.unwrap();
    answering.await.unwrap();
}

async fn unix_pair(number: usize) {
    let (mut one, mut other) = UnixStream::pair().unwrap();
    let answering = spawn(async move {
        loop {
            let (result, bytes) = other.read(Vec::with_capacity(4096)).await;
            if result.unwrap() == 0 {
                return;
            }
            other.write_all(bytes).await.0.unwrap();
        }
    });
    let mut round = number;
    while goes_on() {
        round += 1;
        let len = 1 + round % 3000;
        one.write_all(pattern(round, len)).await.0.unwrap();
        let (result, bytes) = one.read_exact(Vec::with_capacity(len), len).await;
        result.unwrap();
        check(&bytes, round);
        count(Kind::UnixPairs);
        if round.is_multiple_of(32) {
            time::sleep(Duration::from_millis(1)).await;
        }
    }
    drop(one);
    answering.await.unwrap();
}

async fn swallow(mut reader: OwnedReadHalf) -> usize {
    let mut at = 0;
    loop {
        let (result, bytes) = reader.read(Vec::with_capacity(65_536)).await;
        if result.unwrap() == 0 {
            return at;
        }
        check(&bytes, at);
        at += bytes.len();
    }
}

async fn without_copying(mut one: TcpStream, other: TcpStream) {
    let (reader, _keeps_open) = other.into_split();
    let swallowing = spawn(swallow(reader));
    let mut at = 0;
    while goes_on() {
        let len = 20_000 + fastrand::usize(..100_000);
        one.send_all_zc(pattern(at, len)).await.0.unwrap();
        at += len;
        count(Kind::ZeroCopy);
        time::sleep(Duration::from_millis(1)).await;
    }
    one.close().await.unwrap();
    assert_eq!(swallowing.await.unwrap(), at);
}

async fn spliced(mut one: TcpStream, other: TcpStream) {
    const MIB: usize = 1 << 20;
    let mut file = ringtoss::fs::tempfile().await.unwrap();
    file.write_all(pattern(0, MIB)).await.0.unwrap();
    let (mut reader, _keeps_open) = other.into_split();
    while goes_on() {
        file.rewind().await.unwrap();
        let sending = async { io::splice(&mut file, &mut one, MIB as u64).await.unwrap() };
        let receiving = async {
            let (result, bytes) = reader.read_exact(Vec::with_capacity(MIB), MIB).await;
            result.unwrap();
            check(&bytes, 0);
        };
        let (sent, ()) = futures::join!(sending, receiving);
        assert_eq!(sent, MIB as u64);
        count(Kind::Splice);
        time::sleep(Duration::from_millis(5)).await;
    }
}

//! Objects of every kind, with the model of each: what was sent arrives once and in order, whatever is dropped on the way.

use std::rc::Rc;

use super::chaos::{Random, connect, do_something};
use super::*;
use crate::fs::{ChainedFile, OpenOptions};
use crate::net::UdpSocket;

pub(super) async fn some_of_each(seed: usize, alive: Arc<AtomicUsize>) {
    let mut random = Random(seed as u64 * 2 + 1);
    datagrams(&mut random, &alive).await;
    leases(&mut random).await;
    incoming(&mut random).await;
    registered(&mut random).await;
    own_files(&mut random, &alive).await;
    lent(&mut random, &alive).await;
}

/// Sends whose buffers come back later than their results, or are not waited for.
async fn lent(random: &mut Random, alive: &Arc<AtomicUsize>) {
    const LEN: usize = 17_000;
    const TOTAL: usize = 4 * LEN;
    let (mut one, mut other) = connect(random).await;
    let reading = crate::spawn(async move {
        let mut at = 0;
        while at < TOTAL {
            let (result, buf) = other.read(Vec::with_capacity(20_000)).await;
            if let Err(error) = result {
                assert_injected(&error);
            }
            assert!(buf.iter().enumerate().all(|(index, &byte)| byte == pattern(at + index)), "at {at}");
            at += buf.len();
        }
    });
    let mut kept = Vec::new();
    for at in (0..TOTAL).step_by(LEN) {
        let bytes = Counted::new((at..at + LEN).map(pattern).collect(), alive);
        let (result, lent) = one.send_all_zc(bytes).result_first().await;
        result.unwrap();
        match random.below(4) {
            0 => drop(lent),
            1 => assert!(poll_times(lent, random.below(3)).await.is_none_or(|buf| buf.bytes[0] == pattern(at))),
            2 => assert_eq!(lent.await.bytes.len(), LEN),
            _ => kept.push(lent),
        }
    }
    reading.await.unwrap();
    for lent in kept {
        assert_eq!(lent.await.bytes.len(), LEN);
    }
}

/// Each that was taken arrives once. Between two sockets of one machine, of which few are under way, none is lost.
async fn datagrams(random: &mut Random, alive: &Arc<AtomicUsize>) {
    let one = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let there = other.local_addr().unwrap();
    let mut next = 0usize;
    for number in 0..12 {
        let mut bytes = vec![number as u8; 1 + random.below(400)];
        bytes[0] = number as u8;
        let send = one.send_to(Counted::new(bytes, alive), there);
        let sent = match do_something(random, send).await {
            Some((Ok(_), _)) => true,
            Some((Err(_), _)) => false,
            None => one.take_dropped_write().await.is_some_and(|fate| fate.is_ok()),
        };
        if !sent {
            // It may not have gone: ask for it where it would be.
            let receive = other.recv_from(Counted::new(Vec::with_capacity(500), alive));
            if let Ok((Ok(_), buf)) = time::timeout(Duration::from_millis(2), receive).await {
                assert_eq!(usize::from(buf.bytes[0]), number, "a datagram came twice, or another one");
            }
            continue;
        }
        next = number;
        let got = loop {
            let receive = other.recv_from(Counted::new(Vec::with_capacity(500), alive));
            match do_something(random, receive).await {
                Some((Ok(_), buf)) => break usize::from(buf.bytes[0]),
                Some((Err(error), _)) if error.kind() == std::io::ErrorKind::TimedOut => {}
                Some((Err(error), _)) => assert_injected(&error),
                None => {}
            }
        };
        assert_eq!(got, next, "a datagram is lost, or came twice");
    }
    let late = other.recv_from(Counted::new(Vec::with_capacity(500), alive));
    match time::timeout(Duration::from_millis(1), late).await {
        Ok((Ok(_), buf)) => panic!("{} came after {next}", buf.bytes[0]),
        Ok((Err(error), _)) => assert_injected(&error),
        Err(_) => {}
    }
}

/// One submission that brings many buffers, dropped and begun anew.
async fn leases(random: &mut Random) {
    const LEN: usize = 20_000;
    let (one, mut other) = connect(random).await;
    let mut one = one;
    let sending = crate::spawn(async move {
        for at in (0..LEN).step_by(500) {
            one.write_all((at..at + 500).map(pattern).collect::<Vec<u8>>()).await.0.unwrap();
        }
    });
    let mut at = 0;
    while at < LEN {
        let mut stream = other.recv_stream();
        for _ in 0..1 + random.below(6) {
            let lease = match poll_times(stream.next(), random.below(6)).await {
                None => continue,
                Some(None) => {
                    assert_eq!(at, LEN, "the end came early");
                    break;
                }
                Some(Some(Err(error))) => {
                    assert_injected(&error);
                    continue;
                }
                Some(Some(Ok(lease))) => lease,
            };
            assert!(lease.iter().enumerate().all(|(index, &byte)| byte == pattern(at + index)), "wrong bytes at {at}");
            at += lease.len();
        }
    }
    assert_eq!(at, LEN);
    sending.await.unwrap();
}

/// One submission that accepts many: whoever has connected comes out, whatever is dropped.
async fn incoming(random: &mut Random) {
    const COUNT: usize = 8;
    let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    let connecting: Vec<_> = (0..COUNT).map(|_| crate::spawn(TcpStream::connect(address))).collect();
    let mut accepted = Vec::new();
    while accepted.len() < COUNT {
        let mut incoming = listener.incoming();
        for _ in 0..1 + random.below(4) {
            if accepted.len() == COUNT {
                break;
            }
            match poll_times(incoming.next(), random.below(8)).await {
                Some(Ok(stream)) => accepted.push(stream),
                Some(Err(error)) => assert_injected(&error),
                None => {}
            }
        }
    }
    let mut clients = Vec::new();
    for client in connecting {
        clients.push(client.await.unwrap().unwrap());
    }
    // Each of them is somebody's.
    drop(accepted);
    for mut client in clients {
        loop {
            match client.read(vec![0; 1]).await.0 {
                Ok(count) => break assert_eq!(count, 0),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => assert_injected(&error),
            }
        }
    }
}

/// Memory that the kernel knows already, which comes back to its pool.
async fn registered(random: &mut Random) {
    let Ok(pool) = crate::buf::RegisteredPool::new(4096, 2) else { return };
    let file = File::from(tempfile::tempfile().unwrap());
    for round in 0..8 {
        let fill = (round % 200) as u8;
        let mut buf = pool.take().await.unwrap();
        buf.extend_from_slice(&[fill; 4096]);
        let write = file.write_all_at(buf, 0);
        let Some((Ok(()), _)) = do_something(random, write).await else { continue };
        let read = file.read_exact_at(pool.take().await.unwrap(), 4096, 0);
        if let Some((Ok(_), buf)) = do_something(random, read).await {
            assert!(buf.iter().all(|&byte| byte == fill));
        }
    }
    // All of them are back: nobody would wait else.
    let all = async { (pool.take().await.unwrap(), pool.take().await.unwrap()) };
    drop(time::timeout(patience(), all).await.expect("a registered buffer is lost"));
}

/// Files that chains open for themselves: what was written comes back. That neither a file nor a place stays is looked at in the
/// end.
async fn own_files(random: &mut Random, alive: &Arc<AtomicUsize>) {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = folder.path().join(round.to_string());
        let bytes: Vec<u8> = (0..1 + random.below(3000)).map(|at| pattern(at + round)).collect();
        let chain = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open_chained(&path)
            .link(ChainedFile.write_all_at(Counted::new(bytes.clone(), alive), 0))
            .link(ChainedFile.sync_data())
            .link(ChainedFile.close());
        let Some((opened, (written, _), synced, _closed)) = do_something(random, chain).await else { continue };
        assert!(opened.is_ok() || written.is_err() && synced.is_err(), "what follows a failure does not run");
        let chain = OpenOptions::new()
            .read(true)
            .open_chained(&path)
            .link(ChainedFile.read_at(Counted::new(Vec::with_capacity(4000), alive), 0))
            .hardlink(ChainedFile.close());
        if let Some((_, (Ok(count), buf), _)) = do_something(random, chain).await {
            assert_eq!(count, buf.bytes.len());
            assert!(bytes.starts_with(&buf.bytes) && (written.is_err() || count > 0), "other bytes than were written");
        }
    }
}

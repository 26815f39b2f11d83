//! Reads, accepts and receives that lose races, over and over.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringtoss::net::{UnixDatagram, UnixListener, UnixStream};
use ringtoss::time::sleep;

use crate::listeners::abstract_address;
use crate::util::*;

async fn distraction(choice: usize) {
    match choice {
        0 => {}
        1 => ringtoss::yield_now().await,
        2 | 3 => turn().await,
        _ => sleep(Duration::from_micros(30)).await,
    }
}

#[test]
fn a_select_loop_on_a_stream_loses_no_byte_and_keeps_the_order() {
    run(async {
        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        let stop = Rc::new(Cell::new(false));
        let stopped = stop.clone();
        let write = ringtoss::spawn(async move {
            let mut random = Random(0x5eed_7001);
            let mut place = 0;
            while !stopped.get() {
                let len = 1 + random.below_one_of([2, 50, 2000]);
                writer.write_all(pattern(place, len)).await.0.unwrap();
                place += len;
                distraction(random.below(5)).await;
            }
            place
        });
        let mut random = Random(0x5eed_7002);
        let mut place = 0;
        for _ in 0..often(20_000) {
            let len = 1 + random.below_one_of([16, 300, 5000]);
            let other = distraction(random.below(5));
            let exact = random.below(3) == 0;
            let read = async {
                if exact {
                    let len = len.min(500);
                    reader.read_exact(Vec::with_capacity(len), len).await
                } else {
                    reader.read(Vec::with_capacity(len)).await
                }
            };
            tokio::select! {
                (result, buf) = read => {
                    result.unwrap();
                    check(&buf, place);
                    place += buf.len();
                }
                _ = other => {}
            }
        }
        stop.set(true);
        loop {
            let (result, buf) = reader.read(Vec::with_capacity(4096)).await;
            check(&buf, place);
            place += buf.len();
            if result.unwrap() == 0 {
                break;
            }
        }
        assert_eq!(write.await.unwrap(), place);
    });
}

#[test]
fn a_select_loop_of_accepts_loses_no_connection() {
    run(async {
        let address = abstract_address();
        let listener = UnixListener::bind_addr(&address).await.unwrap();
        let count = 500u32;
        let clients = ringtoss::spawn(async move {
            let mut random = Random(0x5eed_8001);
            for number in 0..count {
                let mut client = UnixStream::connect_addr(&address).await.unwrap();
                client.write_all(number.to_le_bytes().to_vec()).await.0.unwrap();
                distraction(random.below(5)).await;
            }
        });
        let mut random = Random(0x5eed_8002);
        let mut seen = vec![0; count as usize];
        let mut total = 0;
        while total < count {
            let other = distraction(random.below(5));
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted.unwrap(),
                _ = other => continue,
            };
            let (mut stream, _) = accepted;
            let (result, buf) = stream.read_exact(Vec::with_capacity(4), 4).await;
            result.unwrap();
            seen[u32::from_le_bytes(buf.try_into().unwrap()) as usize] += 1;
            total += 1;
        }
        clients.await.unwrap();
        assert!(seen.into_iter().all(|times| times == 1));
    });
}

/// Sends and receives both lose races: what was sent is known, and that is what arrives.
#[test]
fn select_loops_on_datagrams_account_for_every_one() {
    run(async {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        let sends = ringtoss::spawn(async move {
            let mut random = Random(0x5eed_9001);
            let mut sent = Vec::new();
            for number in 0..often(20_000) as u32 {
                let other = distraction(random.below(5));
                let send = tokio::select! {
                    biased;
                    (result, _) = sender.send(number.to_le_bytes().to_vec()) => Some(result),
                    _ = other => None,
                };
                let result = match send {
                    Some(result) => Some(result),
                    // Dropped before submission there is nothing to be told.
                    None => sender.take_dropped_write().await,
                };
                match result {
                    Some(Ok(count)) => {
                        assert_eq!(count, 4);
                        sent.push(number);
                    }
                    Some(Err(error)) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
                    None => {}
                }
            }
            sender.send("").await.0.unwrap();
            sent
        });
        let mut random = Random(0x5eed_9002);
        let mut received = Vec::new();
        loop {
            let other = distraction(random.below(5));
            let buf = Vec::with_capacity(9);
            let receive = async {
                if random.below(2) == 0 { receiver.recv(buf).await.1 } else { receiver.recv_from(buf).await.1 }
            };
            let buf = tokio::select! {
                buf = receive => buf,
                _ = other => continue,
            };
            match <[u8; 4]>::try_from(&buf[..]) {
                Ok(bytes) => received.push(u32::from_le_bytes(bytes)),
                Err(_) => break assert!(buf.is_empty()),
            }
        }
        assert_eq!(sends.await.unwrap(), received);
        assert!(received.len() > often(1000));
    });
}

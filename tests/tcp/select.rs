//! Reads that lose races, over and over.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use ringtoss::net::TcpStream;
use ringtoss::time::sleep;

use crate::util::*;

#[derive(Clone, Copy, Debug)]
enum Select {
    Tokio,
    ReadFirst,
    OtherFirst,
    Futures,
}

/// The future's output, unless the other one was faster: then it is dropped.
async fn race<F: Future>(select: Select, future: F, other: impl Future) -> Option<F::Output> {
    match select {
        Select::Tokio => tokio::select! {
            output = future => Some(output),
            _ = other => None,
        },
        Select::ReadFirst => tokio::select! {
            biased;
            output = future => Some(output),
            _ = other => None,
        },
        Select::OtherFirst => tokio::select! {
            biased;
            _ = other => None,
            output = future => Some(output),
        },
        Select::Futures => {
            let (mut future, mut other) = (pin!(future.fuse()), pin!(other.fuse()));
            futures::select! {
                output = future => Some(output),
                _ = other => None,
            }
        }
    }
}

/// What wins a race now and then.
async fn distraction(choice: usize) {
    match choice {
        0 => {}
        1 => ringtoss::yield_now().await,
        2 => turn().await,
        3 => {
            turn().await;
            ringtoss::yield_now().await;
        }
        4 => sleep(Duration::from_micros(20)).await,
        _ => sleep(Duration::from_millis(2)).await,
    }
}

/// One read of some kind, perhaps dropped. Gives how many bytes it has taken, all of them checked; `None` at the end.
async fn read_round(stream: &mut TcpStream, select: Select, random: &mut Random, place: usize) -> Option<usize> {
    let other = distraction(random.below(6));
    let len = 1 + random.below_one_of([16, 300, 5000]);
    let (count, bytes, skip) = match random.below(6) {
        0 | 1 => {
            let Some((result, buf)) = race(select, stream.read(Vec::with_capacity(len)), other).await else {
                return Some(0);
            };
            (result.unwrap(), buf, 0)
        }
        2 => {
            let len = len.min(700);
            let Some((result, buf)) = race(select, stream.read_exact(Vec::with_capacity(len), len), other).await else {
                return Some(0);
            };
            assert_eq!((result.unwrap(), buf.len()), (len, len));
            (len, buf, 0)
        }
        3 => {
            let mut buf = Vec::with_capacity(len + 3);
            buf.extend_from_slice(b"pre");
            let Some((result, buf)) = race(select, stream.read_append(buf), other).await else { return Some(0) };
            assert_eq!(&buf[..3], b"pre");
            (result.unwrap(), buf, 3)
        }
        4 => {
            let bufs =
                (Vec::with_capacity(1 + len / 3), vec![0u8; len / 7].into_boxed_slice(), Vec::with_capacity(len));
            let Some((result, bufs)) = race(select, stream.read_vectored(bufs), other).await else { return Some(0) };
            let count = result.unwrap();
            let all = [&bufs.0[..], &bufs.1[..], &bufs.2[..]].concat();
            let first = bufs.0.len().min(count);
            check(&bufs.0[..first], place);
            (count, all, 0)
        }
        _ if random.below(2) == 0 => {
            let peek = race(select, stream.peek(Vec::with_capacity(len)), other).await;
            if let Some((result, buf)) = peek {
                assert_eq!(result.unwrap(), buf.len());
                check(&buf, place);
            }
            return Some(0);
        }
        _ => {
            if let Some(result) = race(select, stream.readable(), other).await {
                result.unwrap();
            }
            return Some(0);
        }
    };
    if skip == 0 && bytes.len() > count {
        // Vectored, with a buffer of a fixed length in the middle.
        check(&bytes[..count.min(bytes.len())], place);
    } else {
        check(&bytes[skip..], place);
        assert_eq!(bytes.len() - skip, count);
    }
    (count > 0).then_some(count)
}

/// Reads in a `select!` loop, 25,000 rounds with each of its four kinds, while a task writes on the same loop.
#[test]
fn a_hundred_thousand_rounds_of_select_lose_no_byte_and_keep_the_order() {
    for (seed, select) in
        [Select::Tokio, Select::ReadFirst, Select::OtherFirst, Select::Futures].into_iter().enumerate()
    {
        run(rounds(select, seed as u64));
    }
}

async fn rounds(select: Select, seed: u64) {
    let (mut reader, mut writer) = pair().await;
    let stop = Rc::new(Cell::new(false));
    let stopped = stop.clone();
    let write = ringtoss::spawn(async move {
        let mut random = Random(0x5eed_0001 + seed);
        let mut place = 0;
        while !stopped.get() {
            let len = 1 + random.below_one_of([2, 50, 2000]);
            writer.write_all(pattern(place, len)).await.0.unwrap();
            place += len;
            distraction(random.below(7).min(4)).await;
        }
        place
    });
    let mut random = Random(0xfeed_0001 + seed);
    let mut place = 0;
    for _ in 0..often(25_000) {
        place += read_round(&mut reader, select, &mut random, place).await.expect("the writer is still there");
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
    assert!(place > often(100_000), "{place}");
}

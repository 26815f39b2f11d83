//! Bytes that the kernel moves or sends by itself: spliced, copied from pipe to pipe, sent without copying. Whatever is cut
//! short on the way, each arrives once and in order, and what did not arrive is still where it was.

use super::chaos::{Random, connect, do_something};
use super::*;
use crate::{io, pipe};

pub(super) async fn all_kinds(seed: usize, alive: Arc<AtomicUsize>) {
    let mut random = Random(seed as u64 * 2 + 1);
    sent_without_copying(&mut random, &alive).await;
    spliced(&mut random, &alive).await;
    teed(&mut random, &alive).await;
}

/// Reads to the end. Gives how many bytes there were, all of which were those of the pattern.
async fn read_all(mut stream: TcpStream, alive: Arc<AtomicUsize>) -> usize {
    let mut at = 0;
    loop {
        let (result, buf) = stream.read(Counted::new(Vec::with_capacity(3000), &alive)).await;
        check(&buf.bytes, at);
        at += buf.bytes.len();
        match result {
            Ok(0) => return at,
            Ok(_) => {}
            Err(error) => assert_injected(&error),
        }
    }
}

fn check(bytes: &[u8], at: usize) {
    let wrong = bytes.iter().enumerate().position(|(index, &byte)| byte != pattern(at + index));
    let Some(wrong) = wrong else { return };
    // Where they belong tells whether something is missing, there twice, or out of order.
    let rest = &bytes[wrong..];
    let belongs = (0..64_000).find(|&at| rest.iter().enumerate().all(|(index, &byte)| byte == pattern(at + index)));
    panic!("wrong bytes at {}: {} of them, from {belongs:?}", at + wrong, rest.len());
}

/// On the loopback the kernel copies after all, and says so: then the socket's next sends are plain ones. So there are several.
async fn sent_without_copying(random: &mut Random, alive: &Arc<AtomicUsize>) {
    const LEN: usize = 60_000;
    for _ in 0..3 {
        let (mut one, other) = connect(random).await;
        let reading = crate::spawn(read_all(other, alive.clone()));
        let mut at = 0;
        while at < LEN {
            let end = (at + 1 + random.below(40_000)).min(LEN);
            let buf = Counted::new((at..end).map(pattern).collect(), alive);
            let done = if random.below(2) == 0 {
                let send = one.send_zc(buf);
                do_something(random, send).await.map(|(result, _)| result)
            } else {
                let send = one.send_all_zc(buf);
                do_something(random, send).await.map(|(result, _)| result.map(|()| end - at))
            };
            at += match done {
                Some(Ok(count)) => count,
                Some(Err(error)) => op::transferred(&error).unwrap_or(0),
                None => match one.take_dropped_write().await {
                    Some(fate) => fate.unwrap(),
                    None => 0,
                },
            };
            assert!(at <= end, "more was taken than there was");
        }
        one.close().await.unwrap();
        assert_eq!(reading.await.unwrap(), LEN);
    }
}

/// From one connection to another, with reads of the source in between: their bytes are passed on by hand.
async fn spliced(random: &mut Random, alive: &Arc<AtomicUsize>) {
    const LEN: usize = 30_000;
    let (mut writer, mut source) = connect(random).await;
    let (mut target, reader) = connect(random).await;
    let writing = crate::spawn(async move {
        for at in (0..LEN).step_by(500) {
            writer.write_all((at..at + 500).map(pattern).collect::<Vec<u8>>()).await.0.unwrap();
        }
    });
    let reading = crate::spawn(read_all(reader, alive.clone()));
    loop {
        let outcome = match random.below(4) {
            0 => {
                let read = source.read(Counted::new(Vec::with_capacity(1 + random.below(900)), alive));
                let Some((result, mut buf)) = do_something(random, read).await else { continue };
                let ended = matches!(result, Ok(0));
                pass_on(&mut target, std::mem::take(&mut buf.bytes)).await;
                if ended {
                    break;
                }
                result.map(|count| count as u64)
            }
            1 => {
                let limited =
                    io::splice(&mut source, &mut target, 1 + random.below(9000) as u64).timeout(Duration::ZERO);
                let Some(result) = poll_times(limited, random.below(40)).await else { continue };
                result
            }
            _ => {
                let splice = io::splice(&mut source, &mut target, 1 + random.below(9000) as u64);
                let Some(result) = poll_times(splice, random.below(60)).await else { continue };
                result
            }
        };
        match outcome {
            // Nothing was asked for but what there is.
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
            Err(error) => assert_injected(&error),
        }
    }
    writing.await.unwrap();
    target.close().await.unwrap();
    assert_eq!(reading.await.unwrap(), LEN, "bytes are lost between two connections");
}

async fn pass_on(target: &mut TcpStream, mut bytes: Vec<u8>) {
    while !bytes.is_empty() {
        let (result, back) = target.write(bytes).await;
        bytes = back;
        match result {
            Ok(count) => drop(bytes.drain(..count)),
            Err(error) => assert_injected(&error),
        }
    }
}

/// What is copied from one pipe to another stays in the first.
async fn teed(random: &mut Random, alive: &Arc<AtomicUsize>) {
    let (mut sender, mut receiver) = pipe::pipe().unwrap();
    let (mut copies, mut copied) = pipe::pipe().unwrap();
    let mut at = 0;
    for _ in 0..8 {
        let end = at + 1 + random.below(2000);
        let mut there = at;
        while there < end {
            let bytes = Counted::new((there..end).map(pattern).collect(), alive);
            match sender.write(bytes).await.0 {
                Ok(count) => there += count,
                Err(error) => assert_injected(&error),
            }
        }
        let tee = io::tee(&mut receiver, &mut copies, 1 + random.below(3000) as u64);
        let count = match poll_times(Box::pin(tee), random.below(60)).await {
            Some(Ok(count)) => count as usize,
            Some(Err(error)) => {
                assert_injected(&error);
                0
            }
            None => match copies.take_dropped_write().await {
                Some(Ok(count)) => count,
                Some(Err(error)) => {
                    assert_injected(&error);
                    0
                }
                None => 0,
            },
        };
        assert!(count <= end - at, "more was copied than there was");
        read_back(&mut copied, at, count, alive).await;
        read_back(&mut receiver, at, end - at, alive).await;
        at = end;
    }
    drop((sender, copies));
    for pipe in [&mut receiver, &mut copied] {
        let last = insist_on_reading(pipe, 8, alive).await;
        assert!(last.is_empty(), "there is something that nobody has sent");
    }
}

async fn read_back(pipe: &mut pipe::Receiver, mut at: usize, count: usize, alive: &Arc<AtomicUsize>) {
    let end = at + count;
    while at < end {
        let bytes = insist_on_reading(pipe, end - at, alive).await;
        assert!(!bytes.is_empty(), "the end came early");
        check(&bytes, at);
        at += bytes.len();
    }
}

async fn insist_on_reading(pipe: &mut pipe::Receiver, most: usize, alive: &Arc<AtomicUsize>) -> Vec<u8> {
    loop {
        let (result, mut buf) = pipe.read(Counted::new(Vec::with_capacity(most), alive)).await;
        match result {
            Ok(_) => return std::mem::take(&mut buf.bytes),
            Err(error) => assert_injected(&error),
        }
    }
}

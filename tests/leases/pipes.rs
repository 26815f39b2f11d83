//! Pipes and files in leases: every byte once and in order, whatever is dropped, and no buffer is lost.

use std::io::{ErrorKind, Read, Write};
use std::process::Command;

use ringtoss::EventLoop;
use ringtoss::fs::File;
use ringtoss::pipe::{self, Receiver};

use crate::util::*;

/// A receiver, and the other end of std's.
fn std_pipe() -> (Receiver, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (Receiver::from(reader), writer)
}

#[test]
fn every_byte_comes_in_order_and_then_the_end() {
    for many in [false, true] {
        run(async {
            let (mut sender, mut receiver) = pipe::pipe().unwrap();
            let writing = ringtoss::spawn(async move {
                let mut random = Random(7);
                let mut place = 0;
                while place < 1_000_000 {
                    let len = 1 + random.below(9000);
                    sender.write_all(pattern(place, len)).await.0.unwrap();
                    place += len;
                }
                place
            });
            let mut place = 0;
            if many {
                let mut pieces = receiver.read_stream();
                while let Some(lease) = pieces.next().await {
                    let lease = lease.unwrap();
                    check(&lease, place);
                    place += lease.len();
                }
                assert!(pieces.next().await.is_none(), "the end stays the end");
            } else {
                while let Some(lease) = receiver.read_lease().await.unwrap() {
                    check(&lease, place);
                    place += lease.len();
                }
            }
            assert_eq!(writing.await.unwrap(), place);
        });
    }
}

/// Where the kernel can.
#[test]
fn one_submission_serves_many_reads() {
    run(async {
        let (mut receiver, mut writer) = std_pipe();
        let mut pieces = receiver.read_stream();
        let before = ringtoss::metrics().submissions;
        for round in 0..300u32 {
            writer.write_all(&round.to_le_bytes()).unwrap();
            assert_eq!(pieces.next().await.unwrap().unwrap()[..], round.to_le_bytes());
        }
        let submissions = ringtoss::metrics().submissions - before;
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let version: Vec<u32> = release.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
        assert!(submissions < 20 || version < vec![6, 7], "{submissions} submissions on {release}");
    });
}

#[test]
fn a_fifo_waits_for_its_first_writer_and_ends_with_the_last() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut receiver = pipe::OpenOptions::new().open_receiver(&path).await.unwrap();
        let mut pieces = receiver.read_stream();
        assert!(poll_and_drop(pieces.next()).await.is_none());
        for _ in 0..5 {
            turn().await;
            assert!(poll_and_drop(pieces.next()).await.is_none(), "nobody has written yet");
        }
        let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        for round in 0..50u32 {
            writer.write_all(&round.to_le_bytes()).unwrap();
            assert_eq!(pieces.next().await.unwrap().unwrap()[..], round.to_le_bytes());
        }
        drop(writer);
        assert!(pieces.next().await.is_none());
    });
}

#[test]
fn dropped_at_every_stage_nothing_is_lost() {
    let event_loop = EventLoop::builder().lease_buffers(512, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let (mut receiver, mut writer) = std_pipe();
        let mut random = Random(0x717e);
        let (mut sent, mut place) = (0, 0);
        for _ in 0..2000 {
            let mut write = |random: &mut Random| {
                if sent - place < 3000 {
                    let len = 1 + random.below(700);
                    writer.write_all(&pattern(sent, len)).unwrap();
                    sent += len;
                }
            };
            match random.below(4) {
                0 => {
                    let mut one = receiver.read_lease();
                    match poll_once(&mut one).await {
                        std::task::Poll::Ready(lease) => {
                            let lease = lease.unwrap().unwrap();
                            check(&lease, place);
                            place += lease.len();
                        }
                        std::task::Poll::Pending => {
                            write(&mut random);
                            for _ in 0..random.below(3) {
                                turn().await;
                            }
                        }
                    }
                }
                1 => {
                    let mut pieces = receiver.read_stream();
                    for _ in 0..random.below(4) {
                        if let Some(lease) = poll_and_drop(pieces.next()).await {
                            let lease = lease.unwrap().unwrap();
                            check(&lease, place);
                            place += lease.len();
                        }
                        for _ in 0..random.below(3) {
                            turn().await;
                        }
                    }
                }
                2 => {
                    write(&mut random);
                    if let Some((result, buf)) = poll_and_drop(receiver.read(Vec::with_capacity(300))).await {
                        check(&buf, place);
                        place += result.unwrap();
                    }
                }
                _ => {
                    while place < sent {
                        let lease = receiver.read_lease().await.unwrap().unwrap();
                        check(&lease, place);
                        place += lease.len();
                    }
                }
            }
        }
        drop(writer);
        while let Some(lease) = receiver.read_lease().await.unwrap() {
            check(&lease, place);
            place += lease.len();
        }
        assert_eq!(place, sent);
        // All 64 are there.
        let (mut receiver, mut writer) = std_pipe();
        let mut held = Vec::new();
        for _ in 0..64 {
            writer.write_all(b"x").unwrap();
            held.push(receiver.read_lease().await.unwrap().unwrap());
        }
        // And the next one waits for one of them.
        writer.write_all(b"y").unwrap();
        let mut pieces = receiver.read_stream();
        for _ in 0..5 {
            assert!(poll_and_drop(pieces.next()).await.is_none());
            turn().await;
        }
        held.pop();
        assert_eq!(&pieces.next().await.unwrap().unwrap()[..], b"y");
    }));
}

#[test]
fn what_a_stream_leaves_can_be_converted_and_cloned() {
    run(async {
        let (mut receiver, mut writer) = std_pipe();
        let mut pieces = receiver.read_stream();
        assert!(poll_and_drop(pieces.next()).await.is_none());
        turn().await;
        writer.write_all(b"left").unwrap();
        turn().await;
        drop(pieces);
        match receiver.into_std() {
            Err(failure) => assert_eq!(failure.into_inner().into_parts().unwrap().1, b"left"),
            // Before Linux 6.7 a stream that nobody polls asks for nothing more: they are in the pipe still.
            Ok(mut std) => {
                let mut bytes = [0; 4];
                std.read_exact(&mut bytes).unwrap();
                assert_eq!(&bytes, b"left");
            }
        }

        // Clones share what is left.
        let (receiver, mut writer) = std_pipe();
        let mut clones = [receiver.try_clone().unwrap(), receiver];
        for round in 0..40usize {
            let (one, other) = clones.split_at_mut(1);
            let mut pieces = one[0].read_stream();
            assert!(poll_and_drop(pieces.next()).await.is_none());
            for _ in 0..round % 3 {
                turn().await;
            }
            writer.write_all(&round.to_le_bytes()).unwrap();
            turn().await;
            drop(pieces);
            assert_eq!(other[0].read_lease().await.unwrap().unwrap()[..], round.to_le_bytes());
            clones.reverse();
        }
    });
}

#[test]
fn files_by_offset_and_by_position() {
    let event_loop = EventLoop::builder().lease_buffers(4096, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, pattern(0, 50_000)).unwrap();
        let mut file = File::open(&path).await.unwrap();
        for offset in [0, 1, 4095, 20_000, 49_999] {
            let lease = file.read_lease_at(offset).await.unwrap().unwrap();
            assert_eq!(lease.len(), 4096.min(50_000 - offset as usize));
            check(&lease, offset as usize);
        }
        assert!(file.read_lease_at(50_000).await.unwrap().is_none());
        assert_eq!(file.read_lease_at(u64::MAX).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut place = 0;
        while let Some(lease) = file.read_lease().await.unwrap() {
            check(&lease, place);
            place += lease.len();
            // One that is dropped has not happened.
            let mut dropped = file.read_lease();
            let _ = poll_once(&mut dropped).await;
            if place % 8192 == 0 {
                turn().await;
            }
            drop(dropped);
            assert_eq!(file.stream_position().await.unwrap(), place as u64);
        }
        assert_eq!(place, 50_000);
        let (receiver, _writer) = std_pipe();
        let pipe = File::from(receiver);
        assert_eq!(pipe.read_lease_at(0).await.unwrap_err().raw_os_error(), Some(libc::ESPIPE));

        // What is read as a pipe and is none is read one by one.
        file.rewind().await.unwrap();
        let mut receiver = Receiver::from_file_unchecked(file);
        let mut pieces = receiver.read_stream();
        let mut place = 0;
        while let Some(lease) = pieces.next().await {
            let lease = lease.unwrap();
            check(&lease, place);
            place += lease.len();
        }
        assert_eq!(place, 50_000);
        // An error is one, whichever way it is met.
        let folder = File::open(dir.path()).await.unwrap();
        let mut receiver = Receiver::from_file_unchecked(folder);
        let error = receiver.read_stream().next().await.unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EISDIR));
        fn is_send<T: Send>(_: &T) {}
        is_send(&receiver.read_stream());
        is_send(&receiver.read_lease());
    }));
}

//! Chains of which a link fails: what it reports, and what the rest does.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ringtoss::fs::{self, File};
use ringtoss::{CancellationToken, op};

use crate::util::{CANCELLED, content, errno, pair, run, unnamed};

/// A file that cannot be written.
fn read_only() -> File {
    File::from_std(std::fs::File::open("/proc/self/exe").unwrap())
}

#[test]
fn behind_a_soft_link_nothing_runs() {
    run(async {
        let (bad, good) = (read_only(), unnamed());
        for at in 0..3 {
            good.set_len(0).await.unwrap();
            let write = |number: usize| if number == at { &bad } else { &good }.write_all_at(vec![7; 1], number as u64);
            let ((one, buf), (two, _), (three, _)) = write(0).link(write(1)).link(write(2)).await;
            assert_eq!(buf, [7]);
            for (number, result) in [one, two, three].iter().enumerate() {
                match number {
                    _ if number < at => assert!(result.is_ok(), "{at}: {number}: {result:?}"),
                    _ if number == at => assert_eq!(errno(result), 9),
                    _ => assert_eq!(errno(result), CANCELLED),
                }
            }
            assert_eq!(content(&good).await.len(), at, "what follows has not run");
        }
    });
}

#[test]
fn behind_a_hard_link_it_runs_all_the_same() {
    run(async {
        let (bad, good) = (read_only(), unnamed());
        let ((one, _), (two, _), synced) =
            bad.write_all_at("x", 0).hardlink(good.write_all_at("y", 0)).link(good.sync_data()).await;
        assert_eq!(errno(&one), 9);
        two.unwrap();
        synced.unwrap();
        assert_eq!(content(&good).await, b"y");
        // A soft failure in front of it takes it along.
        let ((one, _), (two, _), (three, _)) =
            bad.write_all_at("x", 0).link(good.write_all_at("z", 0)).hardlink(good.write_all_at("z", 0)).await;
        assert_eq!((errno(&one), errno(&two), errno(&three)), (9, CANCELLED, CANCELLED));
        assert_eq!(content(&good).await, b"y");
        // And one behind it.
        let ((one, _), (two, _), (three, _)) =
            good.write_all_at("w", 0).hardlink(bad.write_all_at("z", 0)).link(good.write_all_at("z", 0)).await;
        one.unwrap();
        assert_eq!((errno(&two), errno(&three)), (9, CANCELLED));
        assert_eq!(content(&good).await, b"w");
    });
}

#[test]
fn a_short_read_cancels_what_follows_softly() {
    run(async {
        let file = unnamed();
        file.write_all_at("abc", 0).await.0.unwrap();
        let ((read, bytes), synced) = file.read_at(Vec::with_capacity(10), 0).link(file.sync_data()).await;
        assert_eq!((read.unwrap(), &bytes[..]), (3, &b"abc"[..]));
        assert_eq!(errno(&synced), CANCELLED);
        let ((read, _), synced) = file.read_at(Vec::<u8>::with_capacity(10), 0).hardlink(file.sync_data()).await;
        assert_eq!(read.unwrap(), 3);
        synced.unwrap();
        // One that is to be whole meets the end for good.
        let ((read, bytes), synced) = file.read_exact_at(Vec::with_capacity(10), 10, 0).link(file.sync_data()).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(bytes, b"abc");
        assert_eq!(errno(&synced), CANCELLED);
    });
}

/// The kernel takes a part of it and cancels the rest; the transfer goes on, and the rest behind it.
#[test]
fn a_transfer_that_is_to_be_whole_is_gone_on_with() {
    run(async {
        let (mut one, mut other) = pair().await;
        let sent: Vec<u8> = (0..8_000_000u32).map(|i| (i >> 3) as u8).collect();
        let expected = sent.clone();
        let file = unnamed();
        let reading = ringtoss::spawn(async move {
            let mut all = Vec::with_capacity(expected.len());
            while all.len() < expected.len() {
                let (result, back) = other.read_append(all).await;
                assert_ne!(result.unwrap(), 0);
                all = back;
            }
            assert!(all == expected);
        });
        let ((result, _), (written, _)) = one.write_all(sent).link(file.write_all_at("sent", 0)).await;
        result.unwrap();
        written.unwrap();
        reading.await.unwrap();
        assert_eq!(content(&file).await, b"sent");
    });
}

/// A disk that is full meanwhile: the write is short, then it fails, and what follows has not run.
#[test]
fn a_write_that_hits_the_limit_of_a_file() {
    run(async {
        let file = unnamed();
        file.write_all_at("x", 0).await.0.unwrap();
        // Beyond the largest offset there is room for a part only.
        let end = i64::MAX as u64 - 3;
        let ((written, _), synced) = file.write_all_at("12345678", end).link(file.sync_data()).await;
        assert!(written.is_err(), "{written:?}");
        assert_eq!(errno(&synced), CANCELLED);
    });
}

#[test]
fn one_that_cannot_be_prepared_fails_all_of_them_before_any_runs() {
    run(async {
        let file = unnamed();
        let ((written, _), removed, synced) =
            file.write_all_at("x", 0).link(fs::remove_file("a\0b")).link(file.sync_data()).await;
        assert_eq!((errno(&written), errno(&synced)), (CANCELLED, CANCELLED));
        assert_eq!(removed.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(content(&file).await.is_empty());
        // What the kernel finds out while it takes it: an empty path.
        let ((written, _), removed, synced) =
            file.write_all_at("x", 0).link(fs::remove_file("")).link(file.sync_data()).await;
        assert_eq!((errno(&written), errno(&removed), errno(&synced)), (CANCELLED, 2, CANCELLED));
        assert!(content(&file).await.is_empty());
        let ((written, _), removed) = file.write_all_at("x", 0).hardlink(fs::remove_file("")).await;
        assert_eq!((errno(&written), errno(&removed)), (CANCELLED, 2));
        assert!(content(&file).await.is_empty());
    });
}

#[test]
fn operations_at_a_files_position_are_refused() {
    run(async {
        let (mut file, other) = (unnamed(), unnamed());
        let ((written, _), (at_position, _)) = other.write_all_at("x", 0).link(file.write_all("y")).await;
        assert_eq!(errno(&written), CANCELLED);
        assert_eq!(at_position.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(content(&other).await.is_empty() && content(&file).await.is_empty());
    });
}

#[test]
fn a_limit_that_is_reached() {
    run(async {
        let (mut one, mut other) = pair().await;
        let file = unnamed();
        let start = Instant::now();
        let chain = one
            .read(Vec::<u8>::with_capacity(8))
            .link_timeout(Duration::from_millis(30))
            .link(file.write_all_at("x", 0));
        let ((read, _), (written, _)) = chain.await;
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(errno(&written), CANCELLED);
        assert!(content(&file).await.is_empty());
        // Behind a hard link it goes on.
        let chain = one
            .read(Vec::<u8>::with_capacity(8))
            .link_timeout(Duration::from_millis(1))
            .hardlink(file.write_all_at("x", 0));
        let ((read, _), (written, _)) = chain.await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
        written.unwrap();
        // Alone.
        let (read, buf) = one.read(Vec::<u8>::with_capacity(8)).link_timeout(Duration::from_millis(1)).await;
        assert_eq!((read.unwrap_err().kind(), buf.capacity()), (ErrorKind::TimedOut, 8));
        // Nothing was lost.
        other.write_all("bytes").await.0.unwrap();
        assert_eq!(one.read(Vec::with_capacity(8)).await.1, b"bytes");
        // A read of one that is not the first.
        let chain = file.write_all_at("z", 0).link(one.read(Vec::<u8>::with_capacity(8)));
        let ((written, _), (read, _)) = chain.link_timeout(Duration::from_millis(5)).await;
        written.unwrap();
        assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

/// The loop's own limits are for chains, too, and give every buffer back.
#[test]
fn a_whole_chain_has_a_limit_or_a_token() {
    run(async {
        for round in 0..40 {
            let (mut one, mut other) = pair().await;
            let file = unnamed();
            let limit = Duration::from_micros(round * 50);
            let chain = file.write_all_at("x", 0).link(one.read(Vec::<u8>::with_capacity(8))).link(file.sync_data());
            let ((_, text), (read, buf), synced) = chain.timeout(limit).await;
            assert_eq!((text, buf.capacity()), ("x", 8));
            assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
            assert_eq!(synced.unwrap_err().kind(), ErrorKind::TimedOut);

            // A hard link would go on: it is ended, too.
            let token = CancellationToken::new();
            let (mut third, _fourth) = pair().await;
            let chain = one
                .read(Vec::<u8>::with_capacity(8))
                .hardlink(third.read(Vec::<u8>::with_capacity(8)))
                .hardlink(op::nop());
            let cancelling = token.clone();
            ringtoss::spawn(async move {
                for _ in 0..round {
                    ringtoss::yield_now().await;
                }
                cancelling.cancel();
            });
            let ((first, _), (second, _), _) = chain.cancel_on(&token).await;
            assert_eq!((errno(&first), errno(&second)), (CANCELLED, CANCELLED));

            other.write_all("bytes").await.0.unwrap();
            assert_eq!(one.read(Vec::with_capacity(8)).await.1, b"bytes", "nothing was lost");
        }
    });
}

#[test]
fn a_peer_that_is_gone() {
    run(async {
        let (mut one, other) = pair().await;
        drop(other);
        while one.read(Vec::<u8>::with_capacity(1)).await.0.is_ok_and(|count| count > 0) {}
        let file = unnamed();
        // The first one may still be taken by the kernel, which learns then that nobody is there.
        for _ in 0..100 {
            let ((sent, _), (written, _)) = one.write_all("x").link(file.write_all_at("y", 0)).await;
            match sent {
                Ok(()) => written.unwrap(),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error:?}");
                    assert_eq!(errno(&written), CANCELLED);
                    return;
                }
            }
            ringtoss::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody noticed");
    });
}

/// A pipe has no offsets, in chains as elsewhere.
#[test]
fn a_pipe_has_no_offsets() {
    run(async {
        let (reader, _writer) = io::pipe().unwrap();
        let (reader, file) = (File::from(OwnedFd::from(reader)), unnamed());
        let ((read, _), (written, _)) =
            reader.read_at(Vec::<u8>::with_capacity(1), 0).link(file.write_all_at("x", 0)).await;
        assert_eq!(errno(&read), 29);
        assert_eq!(errno(&written), CANCELLED);
    });
}

/// The kernel looks at the whole chain before it begins, and then fails all of it, whatever the ties.
#[test]
fn what_cannot_be_taken_says_so_also_behind_a_hard_link() {
    run(async {
        let file = unnamed();
        let path = "x".repeat(5000);
        let before = ringtoss::metrics().stale_completions;
        let chain = file.sync_data().hardlink(file.sync_data()).link(fs::metadata(&path));
        let (one, two, three) = chain.await;
        assert_eq!((errno(&one), errno(&two), errno(&three)), (CANCELLED, CANCELLED, libc::ENAMETOOLONG));
        for _ in 0..10 {
            op::nop().await.unwrap();
        }
        assert_eq!(ringtoss::metrics().stale_completions, before);
    });
}

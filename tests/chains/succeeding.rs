//! Chains of which every link succeeds: their outputs, their order, what they cost.

use std::time::Duration;

use ringtoss::{EventLoop, op};

use crate::util::{bounded, content, count_wakes, poll_once, run, turn, unnamed};

#[test]
fn each_link_gives_its_output_and_its_buffer() {
    run(async {
        let file = unnamed();
        let ((written, buf), synced) = file.write_all_at("first", 0).link(file.sync_data()).await;
        written.unwrap();
        synced.unwrap();
        assert_eq!(buf, "first");
        let chain = file.write_at(b"second".to_vec(), 5).link(file.read_exact_at(Vec::with_capacity(11), 11, 0));
        let ((written, _), (read, bytes)) = chain.await;
        assert_eq!((written.unwrap(), read.unwrap(), &bytes[..]), (6, 11, &b"firstsecond"[..]));
    });
}

#[test]
fn six_links_run_in_their_order() {
    run(async {
        let file = unnamed();
        for round in 0..50u8 {
            let byte = |add| vec![round + add; 1];
            let chain = file
                .write_all_at(byte(1), 0)
                .link(file.read_exact_at(Vec::with_capacity(1), 1, 0))
                .link(file.write_all_at(byte(2), 0))
                .link(file.read_exact_at(Vec::with_capacity(1), 1, 0))
                .hardlink(file.write_all_at(byte(3), 0))
                .link(file.read_exact_at(Vec::with_capacity(1), 1, 0));
            let (_, one, _, two, _, three) = chain.await;
            for (read, wanted) in [(one, 1), (two, 2), (three, 3)] {
                read.0.unwrap();
                assert_eq!(read.1, [round + wanted]);
            }
        }
    });
}

#[test]
fn one_submission_and_one_wake() {
    run(async {
        let file = unnamed();
        turn().await;
        let before = ringtoss::metrics();
        let chain = file.write_all_at("bytes", 0).link(file.sync_all()).link(file.read_at(Vec::with_capacity(5), 0));
        let (outputs, wakes) = count_wakes(chain).await;
        let after = ringtoss::metrics();
        outputs.0.0.unwrap();
        assert_eq!(outputs.2.1, b"bytes");
        assert_eq!(wakes, 1);
        assert_eq!(after.submissions - before.submissions, 3);
        // Only the last one speaks.
        assert_eq!(after.completions - before.completions, 1);
    });
}

#[test]
fn nothing_to_do_is_a_link_too() {
    run(async {
        let file = unnamed();
        let chain = file.write_all_at(Vec::new(), 0).link(file.write_all_at("x", 3)).link(file.read_exact_at(
            Vec::with_capacity(1),
            0,
            0,
        ));
        let ((empty, _), (written, _), (read, _)) = chain.await;
        empty.unwrap();
        written.unwrap();
        assert_eq!(read.unwrap(), 0);
        assert_eq!(content(&file).await, b"\0\0\0x");
    });
}

/// There is room for a part of it only: the kernel is entered first.
#[test]
fn a_chain_does_not_straddle_an_enter() {
    for (entries, by_thread) in [(4, false), (8, false), (4, true)] {
        let mut builder = EventLoop::builder().submission_entries(entries);
        if by_thread {
            builder = builder.kernel_thread(Duration::from_millis(50), None);
        }
        let event_loop = builder.build().unwrap();
        event_loop.block_on(bounded(async {
            let file = unnamed();
            for staged in 0..2 * entries as u64 {
                let mut fillers: Vec<_> = (0..staged).map(|_| op::nop()).collect();
                for filler in &mut fillers {
                    assert!(poll_once(filler).await.is_pending());
                }
                // What follows must not run before what is before it has ended, however full the queue is.
                let text = format!("{staged:04}");
                let chain = file.write_all_at(text.clone(), 0).link(file.sync_data()).link(file.read_exact_at(
                    Vec::with_capacity(4),
                    4,
                    0,
                ));
                let ((written, _), synced, (read, bytes)) = chain.await;
                written.unwrap();
                synced.unwrap();
                read.unwrap();
                assert_eq!(bytes, text.as_bytes());
                for filler in fillers {
                    filler.await.unwrap();
                }
            }
        }));
    }
}

/// Then its links are submitted one by one.
#[test]
fn a_chain_that_is_longer_than_the_queue() {
    for entries in [1, 2] {
        let event_loop = EventLoop::builder().submission_entries(entries).build().unwrap();
        event_loop.block_on(bounded(async {
            let file = unnamed();
            let chain =
                file.write_all_at("bytes", 0).link(file.sync_data()).link(file.read_at(Vec::with_capacity(5), 0));
            let ((written, _), synced, (read, bytes)) = chain.await;
            written.unwrap();
            synced.unwrap();
            assert_eq!((read.unwrap(), &bytes[..]), (5, &b"bytes"[..]));
            let (closed, synced) = file.read_at(Vec::<u8>::with_capacity(5), 100).link(file.sync_data()).await;
            // It met the end, and moved less than it was asked to.
            assert_eq!(closed.0.unwrap(), 0);
            assert_eq!(synced.unwrap_err().raw_os_error(), Some(crate::util::CANCELLED));
        }));
    }
    let event_loop = EventLoop::builder().submission_entries(1).build().unwrap();
    event_loop.block_on(bounded(async {
        // One entry has no room for a limit beside it.
        let error = op::nop().link_timeout(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }));
}

#[test]
fn a_limit_that_is_not_reached() {
    run(async {
        let file = unnamed();
        let chain = file
            .write_all_at("bytes", 0)
            .link_timeout(Duration::from_secs(30))
            .link(file.sync_data())
            .link_timeout(Duration::from_secs(30))
            .link(file.read_at(Vec::with_capacity(5), 0));
        let ((written, _), synced, (read, bytes)) = chain.await;
        written.unwrap();
        synced.unwrap();
        assert_eq!((read.unwrap(), &bytes[..]), (5, &b"bytes"[..]));
        op::nop().link_timeout(Duration::MAX).await.unwrap();
    });
}

/// Many at once: more than the queue has room for.
#[test]
fn hundreds_in_flight() {
    run(async {
        let file = std::sync::Arc::new(unnamed());
        let tasks: Vec<_> = (0..500u64)
            .map(|number| {
                let file = file.clone();
                ringtoss::spawn(async move {
                    let bytes = number.to_ne_bytes();
                    let chain = file
                        .write_all_at(bytes.to_vec(), number * 8)
                        .link(file.read_exact_at(Vec::with_capacity(8), 8, number * 8))
                        .hardlink(op::nop());
                    let ((written, _), (read, back), nop) = chain.await;
                    written.unwrap();
                    read.unwrap();
                    nop.unwrap();
                    assert_eq!(back, bytes);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// It is a future like any other: it may be sent, and its operations are on two objects.
#[test]
fn it_can_be_sent_and_awaited_elsewhere() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    run(async {
        let (one, other) = (unnamed(), unnamed());
        let chain = sendable(one.write_all_at("one", 0).link(other.write_all_at("other", 0)));
        chain.await.0.0.unwrap();
        assert_eq!((content(&one).await, content(&other).await), (b"one".to_vec(), b"other".to_vec()));
    });
}

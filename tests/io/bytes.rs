//! `Bytes` and `BytesMut` go into operations and come back.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ringtoss::buf::IoBufExt;
use ringtoss::fs::File;

use crate::util::{bounded, pair, pattern, poll_and_drop, run, turn};

/// Bytes that belong to somebody who can tell whether they are still there.
struct Owned(Vec<u8>, #[expect(dead_code, reason = "it is counted")] Arc<()>);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // What is sent from here on would be seen.
        self.0.fill(0xdd);
    }
}

fn owned(bytes: Vec<u8>) -> (Bytes, Arc<()>) {
    let there = Arc::new(());
    (Bytes::from_owner(Owned(bytes, there.clone())), there)
}

#[test]
fn through_a_file() {
    run(async {
        let mut file = File::from_std(tempfile::tempfile().unwrap());
        file.write_all_at(Bytes::from(pattern(0, 5000)), 0).await.0.unwrap();
        let (result, bytes) = file.write_at(Bytes::from_static(b"static"), 5000).await;
        assert_eq!((result.unwrap(), &bytes[..]), (6, &b"static"[..]));
        let (result, slice) = file.write_all_at(Bytes::from_static(b"a part of it").slice(2..6), 5006).await;
        result.unwrap();
        assert_eq!(slice.into_inner().len(), 12);
        // One that is behind another in the same memory, and one that is in front.
        let mut whole = BytesMut::from(&b"frontbehind"[..]);
        let behind = whole.split_off(5);
        let (result, (front, behind)) = file.write_vectored_at((whole, behind), 5010).await;
        assert_eq!(result.unwrap(), 11);
        assert_eq!((&front[..], &behind[..]), (&b"front"[..], &b"behind"[..]));

        let (result, buf) = file.read_at(BytesMut::with_capacity(5000), 0).await;
        assert_eq!(result.unwrap(), buf.len());
        assert_eq!(buf, pattern(0, 5000));
        // Capacity is filled, what is there is written over; an exact length is one.
        let (result, buf) = file.read_exact(BytesMut::zeroed(4000), 3000).await;
        result.unwrap();
        assert_eq!(buf, pattern(0, 3000));
        let (result, buf) = file.read_append(buf.slice(..3500).into_inner()).await;
        assert_eq!(buf, pattern(0, 3000 + result.unwrap()));
        let (result, buf) = file.read_at(BytesMut::from(&b"keep this"[..]).slice(5..), 5000).await;
        assert_eq!((result.unwrap(), &buf.into_inner()[..]), (4, &b"keep stat"[..]));
        let (result, bufs) =
            file.read_vectored_at((BytesMut::zeroed(6), BytesMut::new(), BytesMut::zeroed(99)), 5000).await;
        assert_eq!(result.unwrap(), 21);
        assert_eq!((&bufs.0[..], bufs.1.len(), &bufs.2[..]), (&b"static"[..], 0, &b"partfrontbehind"[..]));
        // Without capacity a read could not tell the end.
        let (result, _) = file.read_at(BytesMut::new(), 0).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(file.write_at(Bytes::new(), 0).await.0.unwrap(), 0);
        assert_eq!(file.read_at(BytesMut::with_capacity(9), 1 << 20).await.0.unwrap(), 0);
    });
}

#[test]
fn through_a_connection() {
    run(async {
        let (mut a, mut b) = pair().await;
        a.write_all(Bytes::from(pattern(0, 100_000))).await.0.unwrap();
        let sender = ringtoss::spawn(async move {
            let (result, buf) = a.write_all(BytesMut::from(&pattern(100_000, 900_000)[..]).slice(..500_000)).await;
            result.unwrap();
            // The rest without copying it out of there.
            a.write_all(buf.into_inner().freeze().split_off(500_000)).await.0.unwrap();
            a
        });
        let mut all = BytesMut::new();
        while all.len() < 1_000_000 {
            all.reserve(70_000);
            let (before, result);
            before = all.len();
            (result, all) = b.read_append(all).await;
            assert_eq!(all.len() - before, result.unwrap());
        }
        assert!(all == pattern(0, 1_000_000));
        let mut a = sender.await.unwrap();
        // A part of what has been received goes back, while the other is kept.
        let kept = all.split_off(10);
        b.write_all(all.freeze()).await.0.unwrap();
        let (result, buf) = a.read_exact(BytesMut::with_capacity(64), 10).await;
        result.unwrap();
        assert_eq!((&buf[..], kept.len()), (&pattern(0, 10)[..], 999_990));
        let (result, bytes) = a.send_all_zc(Bytes::from_static(b"the end")).await;
        assert_eq!((result.unwrap(), &bytes[..]), ((), &b"the end"[..]));
        assert_eq!(&b.read(BytesMut::with_capacity(64)).await.1[..], b"the end");
    });
}

/// The memory of a read that was dropped is the kernel's until that has let go: nobody who shares it gets it before.
#[test]
fn a_dropped_read_keeps_its_share() {
    run(async {
        for polls in 0..3 {
            let (mut a, mut b) = pair().await;
            let mut kept = BytesMut::with_capacity(64);
            let part = kept.split_off(32);
            assert!(poll_and_drop(b.read(part), polls).await.is_none());
            if polls > 0 {
                assert!(!kept.try_reclaim(64), "the kernel has it");
            }
            a.write_all("arrives").await.0.unwrap();
            assert_eq!(&b.read(BytesMut::with_capacity(64)).await.1[..], b"arrives");
            bounded(async {
                while !kept.try_reclaim(64) {
                    turn().await;
                }
            })
            .await;
        }
    });
}

/// What is being sent stays as it is, and is freed once.
#[test]
fn a_dropped_write_keeps_its_bytes() {
    const MUCH: usize = 8 << 20;
    run(async {
        let (mut a, mut b) = pair().await;
        let (bytes, there) = owned(pattern(0, MUCH));
        let dropped = Arc::downgrade(&there);
        drop(there);
        assert!(poll_and_drop(a.write_all(bytes), 3).await.is_none());
        let reader = ringtoss::spawn(async move { b.read_to_end(Vec::new()).await.1 });
        let fate = a.take_dropped_write().await.unwrap();
        let count = fate.unwrap();
        assert!(count < MUCH);
        bounded(async {
            while dropped.strong_count() > 0 {
                turn().await;
            }
        })
        .await;
        drop(a);
        assert!(reader.await.unwrap() == pattern(0, count));
        // Before it was begun it has not been sent.
        let (mut a, _b) = pair().await;
        let (bytes, there) = owned(vec![1]);
        drop(a.write(bytes));
        assert_eq!(Arc::strong_count(&there), 1);
    });
}

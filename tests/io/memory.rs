//! Readers and writers without a kernel.

use std::io::ErrorKind;

use ringtoss::io::{self, Read, Split, Write};

use crate::util::{check, pattern, poll_once, run};

#[test]
fn a_duplex_holds_so_much_and_no_more() {
    run(async {
        let (mut a, mut b) = io::duplex(10);
        let (result, _) = a.write(pattern(0, 30)).await;
        assert_eq!(result.unwrap(), 10);
        let mut write = Box::pin(a.write(pattern(10, 5)));
        assert!(poll_once(&mut write).await.is_pending());
        let (result, buf) = b.read(Vec::with_capacity(4)).await;
        assert_eq!((result.unwrap(), buf), (4, pattern(0, 4)));
        assert_eq!(write.await.0.unwrap(), 4);
        // A write that is dropped has written nothing.
        let mut write = Box::pin(a.write(pattern(99, 5)));
        assert!(poll_once(&mut write).await.is_pending());
        drop(write);
        assert_eq!(a.write(Vec::new()).await.0.unwrap(), 0);
        let mut got = Vec::new();
        while got.len() < 10 {
            got.extend(b.read(Vec::with_capacity(3)).await.1);
        }
        check(&got, 4);
        let mut read = Box::pin(b.read(Vec::with_capacity(3)));
        assert!(poll_once(&mut read).await.is_pending());
        drop(read);
        a.write_all("x").await.0.unwrap();
        assert_eq!(b.read(Vec::with_capacity(3)).await.1, b"x");
    });
}

#[test]
fn the_ends_of_a_duplex_see_each_other_go() {
    run(async {
        let (mut a, mut b) = io::duplex(4);
        a.write_all("rest").await.0.unwrap();
        a.shutdown().await.unwrap();
        assert_eq!(a.write("more").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(b.read_to_end(Vec::new()).await.1, b"rest");
        b.write_all("back").await.0.unwrap();
        drop(b);
        assert_eq!(a.read_to_end(Vec::new()).await.1, b"back");

        let (mut a, b) = io::duplex(4);
        a.write_all("full").await.0.unwrap();
        let task = ringtoss::spawn(async move { a.write_all("waits").await.0.unwrap_err().kind() });
        ringtoss::yield_now().await;
        drop(b);
        assert_eq!(task.await.unwrap(), ErrorKind::BrokenPipe);

        let (mut a, b) = io::duplex(4);
        let task = ringtoss::spawn(async move { a.read(vec![0; 4]).await.0.unwrap() });
        ringtoss::yield_now().await;
        drop(b);
        assert_eq!(task.await.unwrap(), 0);
    });
}

#[test]
fn a_duplex_connects_threads_and_needs_no_loop() {
    let (mut a, mut b) = io::duplex(100);
    let thread = std::thread::spawn(move || {
        futures::executor::block_on(async {
            a.write_all(pattern(0, 100_000)).await.0.unwrap();
            a.read_exact(Vec::with_capacity(2), 2).await.1
        })
    });
    let all = futures::executor::block_on(async {
        let (reader, mut writer) = b.split();
        let mut reader = reader;
        let all = reader.read_exact(Vec::with_capacity(100_000), 100_000).await.1;
        writer.write_all("ok").await.0.unwrap();
        all
    });
    check(&all, 0);
    assert_eq!((all.len(), thread.join().unwrap()), (100_000, b"ok".to_vec()));
}

#[test]
fn adapters_end_where_they_say() {
    run(async {
        let mut both = (&b"one"[..]).chain(&b"two"[..]);
        assert_eq!(both.read(Vec::with_capacity(10)).await.1, b"one");
        assert_eq!(both.read_to_end(Vec::new()).await.1, b"two");
        assert_eq!(both.read(vec![0; 4]).await.0.unwrap(), 0);

        let mut some = io::repeat(5).take(7);
        let (result, buf) = some.read(vec![0; 4]).await;
        assert_eq!((result.unwrap(), buf), (4, vec![5; 4]));
        assert_eq!(some.limit(), 3);
        assert_eq!(some.read_to_end(Vec::new()).await.1, [5; 3]);
        some.set_limit(1);
        assert_eq!(some.read(Vec::with_capacity(9)).await.1, [5]);
        // At its limit it does not wait for the reader underneath.
        let (a, _b) = io::duplex(1);
        assert_eq!(a.take(0).read(vec![0; 4]).await.0.unwrap(), 0);

        assert_eq!(io::repeat(1).read_to_end(Vec::new()).await.0.unwrap_err().kind(), ErrorKind::OutOfMemory);
        assert_eq!(io::empty().write("gone").await.0.unwrap(), 4);
        assert_eq!(io::sink().write_vectored(("", "gone")).await.0.unwrap(), 4);
        let mut slice = &b"slice"[..];
        assert_eq!(slice.read(Vec::with_capacity(2)).await.1, b"sl");
        assert_eq!(slice, b"ice");
        let mut joined = io::join(slice, io::sink());
        assert_eq!(joined.reader_mut().read(vec![0; 1]).await.0.unwrap(), 1);
        assert_eq!(joined.into_inner().0, b"ce");
    });
}

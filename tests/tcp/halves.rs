//! The two directions of a stream.

use std::io::Write;

use ringtoss::net::TcpStream;

use crate::util::*;

#[test]
fn borrowed_halves_work_at_once() {
    run(async {
        let (mut a, mut b) = pair().await;
        let echo = ringtoss::spawn(async move {
            let (mut reader, mut writer) = b.split();
            assert_eq!(reader.local_addr().unwrap(), writer.local_addr().unwrap());
            assert_eq!(reader.peer_addr().unwrap(), writer.peer_addr().unwrap());
            loop {
                reader.readable().await.unwrap();
                let (result, buf) = reader.read(Vec::with_capacity(5000)).await;
                if result.unwrap() == 0 {
                    break;
                }
                writer.writable().await.unwrap();
                writer.write_all(buf).await.0.unwrap();
            }
            writer.shutdown().await.unwrap();
            b
        });
        const LEN: usize = 1_000_000;
        let (mut reader, mut writer) = a.split();
        let (_, all) = futures::join!(
            async {
                for place in (0..LEN).step_by(10_000) {
                    writer.write_all(pattern(place, 10_000)).await.0.unwrap();
                }
                writer.shutdown().await.unwrap();
            },
            reader.read_exact(Vec::with_capacity(LEN), LEN)
        );
        check(&all.1, 0);
        assert_eq!(reader.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
        echo.await.unwrap();
    });
}

#[test]
fn owned_halves_go_to_different_tasks() {
    run(async {
        let (a, b) = pair().await;
        let (mut reader, mut writer) = b.into_split();
        let write = ringtoss::spawn(async move {
            for place in (0..100_000).step_by(1000) {
                let (result, _) = writer.write_vectored((pattern(place, 400), pattern(place + 400, 600))).await;
                assert_eq!(result.unwrap(), 1000);
            }
            writer
        });
        let read = ringtoss::spawn(async move {
            let (result, buf) = reader.read_append(Vec::with_capacity(9)).await;
            result.unwrap();
            assert_eq!(reader.peek(Vec::with_capacity(9)).await.0.unwrap(), 5);
            let (result, bufs) = reader.read_vectored((Vec::with_capacity(2), Vec::with_capacity(9))).await;
            assert_eq!(
                (result.unwrap(), &buf[..], &bufs.0[..], &bufs.1[..]),
                (5, &b"123456789"[..], &b"ab"[..], &b"cde"[..])
            );
            reader
        });
        let (mut from, mut to) = a.into_split();
        to.write_all("123456789abcde").await.0.unwrap();
        let (result, all) = from.read_exact(Vec::with_capacity(100_000), 100_000).await;
        result.unwrap();
        check(&all, 0);
        let (reader, writer) = (read.await.unwrap(), write.await.unwrap());
        // They go together again, those of different streams do not.
        let error = reader.reunite(to).unwrap_err();
        assert!(error.to_string().contains("not from the same stream"));
        let (reader, to) = (error.0, error.1);
        let error = writer.reunite(from).unwrap_err();
        let (from, writer) = (error.0, error.1);
        let mut b = writer.reunite(reader).unwrap();
        let mut a = from.reunite(to).unwrap();
        a.write_all("whole").await.0.unwrap();
        assert_eq!(b.read(Vec::with_capacity(9)).await.1, b"whole");
        assert_eq!(AsRef::<TcpStream>::as_ref(&b.into_split().0).peer_addr().unwrap(), a.local_addr().unwrap());
    });
}

#[test]
fn dropping_the_half_that_writes_ends_that_direction() {
    run(async {
        for round in 0..6 {
            let (stream, peer) = with_std_peer();
            let (mut reader, mut writer) = stream.into_split();
            writer.write_all("last").await.0.unwrap();
            match round % 3 {
                0 => drop(writer),
                1 => std::thread::spawn(move || drop(writer)).join().unwrap(),
                // Its read is in flight meanwhile.
                _ => {
                    let mut read = reader.read(Vec::with_capacity(9));
                    assert!(poll_once(&mut read).await.is_pending());
                    turn().await;
                    drop(writer);
                    drop(read);
                }
            }
            assert_eq!(rest_of(peer.try_clone().unwrap()).await, b"last");
            (&peer).write_all(b"other direction").unwrap();
            assert_eq!(reader.read_exact(Vec::with_capacity(15), 15).await.1, b"other direction");
        }
    });
}

#[test]
fn a_dropped_write_goes_before_the_end() {
    run(async {
        let (stream, peer) = with_std_peer();
        small_buffers(&stream);
        let (_reader, mut writer) = stream.into_split();
        let mut write = writer.write_all(pattern(0, 4_000_000));
        assert!(poll_once(&mut write).await.is_pending());
        turn().await;
        drop(write);
        writer.shutdown().await.unwrap();
        let sent = writer.take_dropped_write().await.unwrap().unwrap();
        let all = rest_of(peer).await;
        check(&all, 0);
        assert_eq!(all.len(), sent);
    });
}

#[test]
fn the_half_that_reads_ends_nothing_and_neither_does_one_that_is_forgotten() {
    run(async {
        let (stream, peer) = with_std_peer();
        let (reader, mut writer) = stream.into_split();
        drop(reader);
        writer.write_all("still ").await.0.unwrap();
        drop(writer);
        assert_eq!(rest_of(peer).await, b"still ");

        let (mut a, b) = pair().await;
        let (reader, writer) = b.into_split();
        writer.forget();
        let mut read = a.read(Vec::with_capacity(9));
        assert!(poll_once(&mut read).await.is_pending());
        for _ in 0..5 {
            turn().await;
            assert!(poll_once(&mut read).await.is_pending());
        }
        drop(reader);
        assert_eq!(read.await.0.unwrap(), 0);
    });
}

//! What generic code can rely on.

use std::io::ErrorKind;

use ringtoss::EventLoop;
use ringtoss::buf::AlignedBuf;
use ringtoss::fs::File;
use ringtoss::io::{self, BufReader, BufWriter, Read, Split, Write};

use crate::util::{Pieces, Taker, check, is_send, pair, pattern, poll_and_drop, run, turn};

/// Everything that the traits have, on two ends of a connection.
async fn talk<A, B>(mut one: A, mut other: B)
where
    A: Read + Write,
    B: Read + Write,
{
    one.write_all(pattern(0, 1000)).await.0.unwrap();
    one.flush().await.unwrap();
    let (result, buf) = other.read_exact(Vec::with_capacity(600), 500).await;
    assert_eq!((result.unwrap(), buf.len()), (500, 500));
    check(&buf, 0);
    let (result, buf) = other.read_exact(AlignedBuf::with_capacity(300), 300).await;
    assert_eq!(result.unwrap(), 300);
    check(&buf, 500);
    let mut buf = Vec::with_capacity(1000);
    buf.extend_from_slice(b"start");
    let (result, buf) = other.read_append(buf).await;
    let count = result.unwrap();
    assert_eq!((buf.len(), &buf[..5]), (5 + count, &b"start"[..]));
    check(&buf[5..], 800);
    let mut place = 800 + count;
    while place < 1000 {
        let (result, bufs) = other.read_vectored((Vec::new(), Vec::with_capacity(30), vec![0; 30])).await;
        let count = result.unwrap();
        assert_eq!((bufs.0.len(), bufs.1.len(), bufs.2.len()), (0, count.min(30), count.saturating_sub(30)));
        check(&[bufs.1, bufs.2].concat(), place);
        place += count;
    }
    // The other way, with what is left at the end.
    let (result, bufs) = other.write_vectored(["".to_string(), "left and right".to_string()]).await;
    let count = result.unwrap();
    assert!(count > 0 && bufs[1].len() == 14);
    other.shutdown().await.unwrap();
    let (result, buf) = one.read_to_end(b"read: ".to_vec()).await;
    assert_eq!((result.unwrap(), &buf[..]), (count, &b"read: left and right"[..6 + count]));
    let (result, _) = one.read(vec![0; 8]).await;
    assert_eq!(result.unwrap(), 0);
    let (result, _) = one.read_exact(vec![0; 8], 1).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(one.take_dropped_write().await.is_none());
}

#[test]
fn connections_of_every_kind_talk() {
    run(async {
        let (a, b) = pair().await;
        talk(a, b).await;
        let (mut a, mut b) = pair().await;
        talk(&mut a, &mut b).await;
        let ((a_reader, a_writer), (b_reader, b_writer)) = {
            let (a, b) = pair().await;
            (a.into_split(), b.into_split())
        };
        talk(io::join(a_reader, a_writer), io::join(b_reader, b_writer)).await;
        let (mut a, mut b) = pair().await;
        let ((a_reader, a_writer), (b_reader, b_writer)) = (Split::split(&mut a), Split::split(&mut b));
        talk(io::join(a_reader, a_writer), io::join(b_reader, b_writer)).await;
        let (a, b) = io::duplex(2000);
        talk(a, b).await;
        let ((to_b, from_a), (to_a, from_b)) = (ringtoss::pipe::pipe().unwrap(), ringtoss::pipe::pipe().unwrap());
        let passes = async |mut sender: ringtoss::pipe::Sender, receiver: ringtoss::pipe::Receiver| {
            Write::write_all(&mut sender, pattern(0, 300)).await.0.unwrap();
            Write::shutdown(&mut sender).await.unwrap();
            drop(sender);
            let mut all = Vec::new();
            assert_eq!(io::copy(&mut BufReader::new(receiver), &mut all).await.unwrap(), 300);
            check(&all, 0);
        };
        passes(to_b, from_a).await;
        passes(to_a, from_b).await;
        let (a, b) = pair().await;
        talk(BufReader::new(BufWriter::new(a)), BufReader::with_capacity(7, b)).await;
        let (a, b) = pair().await;
        talk(BufWriter::with_capacity(0, a), BufReader::with_capacity(1, b)).await;
    });
}

#[test]
fn a_reader_without_capacity_is_refused_by_all() {
    async fn refuses(mut reader: impl Read) {
        let (result, buf) = reader.read(Vec::new()).await;
        assert_eq!((result.unwrap_err().kind(), buf.capacity()), (ErrorKind::InvalidInput, 0));
        let (result, _) = reader.read_vectored([Vec::new(), Vec::new()]).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        let (result, _) = reader.read_append(vec![0u8; 4].into_boxed_slice()).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        let (result, _) = reader.read_exact(vec![0u8; 4].into_boxed_slice(), 5).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    run(async {
        let (a, mut b) = pair().await;
        b.write_all("something").await.0.unwrap();
        refuses(a).await;
        refuses(File::open("/proc/self/stat").await.unwrap()).await;
        refuses(&b"slice"[..]).await;
        refuses(io::empty()).await;
        refuses(io::repeat(1)).await;
        refuses(io::duplex(8).0).await;
        refuses(BufReader::new(&b"slice"[..])).await;
        refuses((&b"slice"[..]).take(3)).await;
        refuses((&b"slice"[..]).chain(&b"other"[..])).await;
    });
}

#[test]
fn the_methods_that_come_with_a_reader_or_writer_of_ones_own() {
    run(async {
        let mut reader = Pieces::of(50_000);
        let (result, buf) = reader.read_exact(Vec::with_capacity(20_000), 10_000).await;
        assert_eq!((result.unwrap(), buf.len()), (10_000, 10_000));
        check(&buf, 0);
        let (result, buf) = reader.read_to_end(buf).await;
        assert_eq!((result.unwrap(), buf.len()), (40_000, 50_000));
        check(&buf, 0);
        let (result, buf) = Pieces::of(10).read_exact(vec![9; 20], 20).await;
        assert_eq!((result.unwrap_err().kind(), buf), (ErrorKind::UnexpectedEof, pattern(0, 10)));

        let mut writer = Taker::of(30_000);
        writer.write_all(pattern(0, 20_000)).await.0.unwrap();
        let (result, buf) = writer.write_all(pattern(20_000, 20_000)).await;
        assert_eq!((result.unwrap_err().kind(), buf.len()), (ErrorKind::StorageFull, 20_000));
        assert_eq!(writer.taken, pattern(0, 30_000));
    });
}

#[test]
fn files_are_readers_and_writers() {
    async fn fill<W: Write>(mut writer: W) {
        writer.write_all(pattern(0, 100_000)).await.0.unwrap();
        writer.write_vectored((pattern(100_000, 10), pattern(100_010, 10))).await.0.unwrap();
        writer.flush().await.unwrap();
        writer.shutdown().await.unwrap();
    }
    run(async {
        let mut file = File::from_std(tempfile::tempfile().unwrap());
        fill(&mut file).await;
        file.rewind().await.unwrap();
        let mut reader = BufReader::new(&mut file);
        let (result, buf) = Read::read_exact(&mut reader, Vec::with_capacity(100), 100).await;
        assert_eq!(result.unwrap(), 100);
        check(&buf, 0);
        let (result, buf) = reader.read_to_end(Vec::new()).await;
        assert_eq!(result.unwrap(), 100_020 - 100);
        check(&buf, 100);
    });
}

#[test]
fn what_a_dropped_read_to_end_had_read_comes_out_of_the_next_read() {
    run(async {
        let (mut a, mut b) = pair().await;
        b.write_all(pattern(0, 100_000)).await.0.unwrap();
        for polls in 1..10 {
            assert!(poll_and_drop(a.read_to_end(Vec::with_capacity(10)), polls).await.is_none());
        }
        let (result, buf) = a.read_exact(Vec::with_capacity(60_000), 60_000).await;
        assert_eq!(result.unwrap(), 60_000);
        check(&buf, 0);
        b.write_all(pattern(100_000, 5)).await.0.unwrap();
        drop(b);
        let (reader, _writer) = a.into_split();
        let mut reader = reader;
        assert!(poll_and_drop(reader.read_to_end(Vec::with_capacity(1)), 1).await.is_none());
        let (result, buf) = reader.read_to_end(Vec::new()).await;
        assert_eq!(result.unwrap(), 40_005);
        check(&buf, 60_000);
        // Cut short by a limit, it counts as read, and the error tells how much.
        let (mut a, mut b) = pair().await;
        b.write_all(pattern(0, 5_000)).await.0.unwrap();
        let limit = std::time::Duration::from_millis(50);
        let (result, buf) = a.read_to_end(Vec::new()).timeout(limit).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(ringtoss::op::transferred(&error).unwrap_or(0), buf.len());
        check(&buf, 0);
    });
}

/// Generic, and sent to another thread's loop.
fn relay<R, W>(to: &ringtoss::Handle, mut reader: R, mut writer: W) -> ringtoss::JoinHandle<u64>
where
    R: Read + 'static,
    W: Write + 'static,
{
    to.spawn(is_send(async move {
        let (result, start) = reader.read_exact(Vec::with_capacity(4), 4).await;
        result.unwrap();
        writer.write_all(start).await.0.unwrap();
        let mut reader = BufReader::new(reader);
        let mut writer = BufWriter::new(writer);
        let count = io::copy(&mut reader, &mut writer).await.unwrap();
        writer.shutdown().await.unwrap();
        4 + count
    }))
}

#[test]
fn generic_code_runs_on_loops_of_other_threads() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let event_loop = EventLoop::new().unwrap();
        sender.send(event_loop.handle()).unwrap();
        let _ = event_loop.block_on(stopped);
    });
    let handle = receiver.recv().unwrap();
    run(async {
        let (mut client, relay_in) = pair().await;
        let (relay_out, mut server) = pair().await;
        let (reader, _keep) = relay_in.into_split();
        let relayed = relay(&handle, reader, relay_out);
        let write = async {
            client.write_all(pattern(0, 300_000)).await.0.unwrap();
            client.shutdown(std::net::Shutdown::Write).await.unwrap();
        };
        let (_, (result, buf)) = futures::join!(write, server.read_to_end(Vec::new()));
        assert_eq!(result.unwrap(), 300_000);
        check(&buf, 0);
        assert_eq!(relayed.await.unwrap(), 300_000);
        turn().await;
    });
    stop.send(()).unwrap();
    thread.join().unwrap();
}

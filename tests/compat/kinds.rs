//! Every kind of stream, under callers that misuse it.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::Poll;

use futures::future::LocalBoxFuture;
use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ringtoss::compat::PollIo;
use ringtoss::net::{TcpStream, UnixStream};
use ringtoss::{metrics, pipe, spawn, spawn_blocking};

use crate::util::*;

type Reader = Pin<Box<dyn AsyncBufRead + Send + Sync>>;
type Writer = Pin<Box<dyn AsyncWrite + Send + Sync>>;
type Kind = (&'static str, fn() -> LocalBoxFuture<'static, (Reader, Writer)>);

async fn tcp() -> (TcpStream, TcpStream) {
    let (reader, writer) = pair().await;
    small_buffers(&reader);
    small_buffers(&writer);
    (reader, writer)
}

fn unix() -> (UnixStream, UnixStream) {
    let (reader, writer) = UnixStream::pair().unwrap();
    small_buffers(&reader);
    small_buffers(&writer);
    (reader, writer)
}

macro_rules! kind {
    ($name:literal, $made:expr) => {
        ($name, || {
            Box::pin(async {
                let (reader, writer) = $made;
                (Box::pin(reader) as Reader, Box::pin(writer) as Writer)
            })
        })
    };
}

/// Keeps something beside a reader or writer.
struct Beside<T, K>(T, #[allow(dead_code)] K);

impl<T: futures::AsyncRead + Unpin, K: Unpin> futures::AsyncRead for Beside<T, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<T: AsyncBufRead + Unpin, K: Unpin> AsyncBufRead for Beside<T, K> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<std::io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().0).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        Pin::new(&mut self.0).consume(count);
    }
}

const KINDS: &[Kind] = &[
    kind!("TCP, sent at once", {
        let (reader, writer) = tcp().await;
        (PollIo::new(reader), PollIo::direct(writer))
    }),
    kind!("TCP, sent at the turn's end", {
        let (reader, writer) = tcp().await;
        (PollIo::new(reader), PollIo::new(writer))
    }),
    kind!("Unix, sent at once", {
        let (reader, writer) = unix();
        (PollIo::new(reader), PollIo::direct(writer))
    }),
    kind!("Unix, sent at the turn's end", {
        let (reader, writer) = unix();
        (PollIo::new(reader), PollIo::new(writer))
    }),
    kind!("halves of TCP", {
        let (reader, writer) = tcp().await;
        let ((reader, others), (others_too, writer)) = (reader.into_split(), writer.into_split());
        (Beside(PollIo::new(reader), (others, others_too)), PollIo::new(writer))
    }),
    kind!("halves of Unix", {
        let (reader, writer) = unix();
        let ((reader, others), (others_too, writer)) = (reader.into_split(), writer.into_split());
        (Beside(PollIo::new(reader), (others, others_too)), PollIo::direct(writer))
    }),
    kind!("a pipe", {
        let (writer, reader) = pipe::pipe().unwrap();
        (PollIo::new(reader), PollIo::new(writer))
    }),
    kind!("a pipe whose ends have been cloned", {
        let (writer, reader) = pipe::pipe().unwrap();
        let clone = reader.try_clone().unwrap();
        drop(writer.try_clone().unwrap());
        (Beside(PollIo::new(reader), clone), PollIo::new(writer))
    }),
];

fn for_each_kind(test: impl AsyncFn(&'static str, Reader, Writer)) {
    for (name, make) in KINDS {
        run(async {
            let (reader, writer) = make().await;
            test(name, reader, writer).await;
        });
    }
}

async fn once<T>(mut poll: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(poll(cx))).await
}

/// Writes until there is no room; gives how much was taken.
async fn fill(writer: &mut Writer) -> usize {
    let mut taken = 0;
    let mut refused = 0;
    loop {
        let bytes = pattern(taken, 3000 + taken % 777);
        match once(|cx| writer.as_mut().poll_write(cx, &bytes)).await {
            Poll::Ready(count) => {
                taken += count.unwrap();
                refused = 0;
            }
            Poll::Pending if refused == 3 => return taken,
            Poll::Pending => {
                refused += 1;
                turn().await;
            }
        }
    }
}

/// Any sequence of reads, writes, flushes and polls that are dropped: what was taken arrives, once and in order, whether the writer
/// is flushed, closed, or just dropped.
#[test]
fn whatever_the_caller_does_the_bytes_are_those_that_were_taken() {
    let rounds = 12;
    for round in 0..rounds {
        for_each_kind(async |name, mut reader, mut writer| {
            let mut random = Random(0x5eed_0001 + round * 0x1234_5677);
            let (mut taken, mut read) = (0, 0);
            for _ in 0..300 {
                match random.below(10) {
                    0..=2 => {
                        let bytes = pattern(taken, random.below_one_of([3, 300, 9_000, 60_000]));
                        if let Poll::Ready(count) = once(|cx| writer.as_mut().poll_write(cx, &bytes)).await {
                            taken += count.unwrap();
                        }
                    }
                    3 => {
                        let bytes = pattern(taken, random.below(20_000) + 1);
                        let (head, tail) = bytes.split_at(random.below(bytes.len()));
                        let slices = [IoSlice::new(head), IoSlice::new(b""), IoSlice::new(tail)];
                        if let Poll::Ready(count) = once(|cx| writer.as_mut().poll_write_vectored(cx, &slices)).await {
                            taken += count.unwrap();
                        }
                    }
                    4 => {
                        if let Poll::Ready(flushed) = once(|cx| writer.as_mut().poll_flush(cx)).await {
                            flushed.unwrap();
                        }
                    }
                    5..=6 => {
                        let mut buf = vec![0; 1 + random.below_one_of([3, 300, 30_000])];
                        if let Poll::Ready(count) = once(|cx| reader.as_mut().poll_read(cx, &mut buf)).await {
                            let count = count.unwrap();
                            assert!(count > 0, "{name}: a false end");
                            check(&buf[..count], read);
                            read += count;
                        }
                    }
                    7 => {
                        let at_most = random.below(5_000);
                        let filled = once(|cx| {
                            let filled = reader.as_mut().poll_fill_buf(cx);
                            filled.map_ok(|bytes| bytes[..bytes.len().min(at_most)].to_vec())
                        });
                        if let Poll::Ready(bytes) = filled.await {
                            let bytes = bytes.unwrap();
                            check(&bytes, read);
                            reader.as_mut().consume(bytes.len());
                            read += bytes.len();
                        }
                    }
                    _ => turn().await,
                }
            }
            let end = random.below(3);
            let mut rest = Vec::new();
            let finish = async {
                if end > 0 {
                    writer.close().await.unwrap();
                }
                if end > 1 {
                    writer.close().await.expect("twice is as good as once");
                }
                drop(writer);
            };
            let (_, count) = futures::join!(finish, reader.read_to_end(&mut rest));
            count.unwrap();
            check(&rest, read);
            assert_eq!(read + rest.len(), taken, "{name}, round {round}");
            assert_eq!(reader.read(&mut [0; 9]).await.unwrap(), 0, "{name}: the end stays the end");
        });
    }
}

#[test]
fn a_refused_write_may_be_tried_again_with_other_bytes() {
    for_each_kind(async |name, mut reader, mut writer| {
        let taken = fill(&mut writer).await;
        let mut expected = pattern(0, taken);
        for (number, len) in [5000, 1, 70_000].into_iter().enumerate() {
            let other = vec![0xe0 + number as u8; len];
            // Room may come late, and then the bytes of that very try are taken.
            if let Poll::Ready(count) = once(|cx| writer.as_mut().poll_write(cx, &other)).await {
                expected.extend(&other[..count.unwrap()]);
            }
            turn().await;
        }
        let last = pattern(taken, 100_000);
        expected.extend(&last);
        let write = async {
            writer.write_all(&last).await.unwrap();
            drop(writer);
        };
        let mut all = Vec::new();
        let (_, count) = futures::join!(write, reader.read_to_end(&mut all));
        count.unwrap();
        assert!(all == expected, "{name}: other bytes than those that were taken");
    });
}

/// The writer is never polled again after its writes.
#[test]
fn what_is_never_flushed_arrives() {
    for_each_kind(async |name, mut reader, mut writer| {
        for place in 0..10 {
            writer.write_all(&pattern(place * 30, 30)).await.unwrap();
        }
        let mut all = vec![0; 300];
        reader.read_exact(&mut all).await.unwrap();
        check(&all, 0);
        drop(writer);
        assert_eq!(reader.read(&mut all).await.unwrap(), 0, "{name}");
    });
}

#[test]
fn what_is_dropped_on_another_thread_arrives() {
    for_each_kind(async |name, mut reader, mut writer| {
        let taken = fill(&mut writer).await;
        std::thread::spawn(move || drop(writer)).join().unwrap();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        check(&all, 0);
        assert_eq!(all.len(), taken, "{name}");
    });
    // The entry is with the loop still.
    for_each_kind(async |name, mut reader, mut writer| {
        writer.write_all(b"on the way").await.unwrap();
        std::thread::spawn(move || drop(writer)).join().unwrap();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"on the way", "{name}");
    });
}

/// The loop ends with its future, and what was written is sent nevertheless.
#[test]
fn what_was_taken_outlives_the_loop() {
    let (stream, peer) = std_pair();
    small_buffers(&stream);
    small_buffers(&peer);
    let (started, wait) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        wait.recv().unwrap();
        let mut all = Vec::new();
        { peer }.read_to_end(&mut all).unwrap();
        all
    });
    let taken = run(async move {
        let mut writer: Writer = Box::pin(PollIo::new(TcpStream::from_std(stream)));
        let taken = fill(&mut writer).await;
        started.send(()).unwrap();
        taken
    });
    let all = reader.join().unwrap();
    check(&all, 0);
    assert_eq!(all.len(), taken);
}

/// What arrives between the drop and the close would make a reset of the end.
#[test]
fn a_drop_sends_what_was_taken_at_once() {
    run(async {
        for gives_back in [false, true] {
            let (stream, mut peer) = with_std_peer();
            peer.set_nonblocking(true).unwrap();
            let mut writer = PollIo::new(stream);
            writer.write_all(b"last words").await.unwrap();
            assert_eq!(peer.read(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
            if gives_back {
                drop(writer.into_inner())
            } else {
                drop(writer)
            }
            assert_eq!(peer.read(&mut [0; 16]).unwrap(), 10);
            until(|| matches!(peer.read(&mut [0; 16]), Ok(0))).await;
        }
    });
}

/// A peer that takes nothing does not keep the socket for ever.
#[test]
fn last_words_are_bounded() {
    run(async {
        for (chosen, told) in [(0, 60_000), (1234, 1234)] {
            let (reader, writer) = tcp().await;
            let kept = std::net::TcpStream::from(writer.as_fd().try_clone_to_owned().unwrap());
            set_option(&kept, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, chosen);
            let mut writer: Writer = Box::pin(PollIo::new(writer));
            fill(&mut writer).await;
            assert_eq!(option(&kept, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 0i32), chosen);
            drop(writer);
            assert_eq!(option(&kept, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 0i32), told);
            drop(reader);
        }
    });
}

#[test]
fn what_was_taken_comes_before_what_the_stream_itself_writes() {
    run(async {
        for full in [false, true] {
            let (mut reader, writer) = tcp().await;
            let mut writer = PollIo::new(writer);
            let mut taken = 0;
            loop {
                let bytes = pattern(taken, 3000);
                match once(|cx| Pin::new(&mut writer).poll_write(cx, &bytes)).await {
                    Poll::Ready(count) => taken += count.unwrap(),
                    Poll::Pending => break,
                }
                if full {
                    turn().await;
                } else if taken > 5000 {
                    break;
                }
            }
            let mut stream = writer.into_inner();
            let writing = spawn(async move {
                stream.write_all(pattern(taken, 5000)).await.0.unwrap();
                stream.close().await.unwrap();
            });
            let mut all = Vec::new();
            while let (Ok(1..), bytes) = reader.read(Vec::with_capacity(4096)).await {
                all.extend(bytes);
            }
            check(&all, 0);
            assert_eq!(all.len(), taken + 5000);
            writing.await.unwrap();
        }
        // And a stream that is just dropped sends it, too, also if it is given to std.
        for to_std in [false, true] {
            let (reader, writer) = unix();
            let mut writer = PollIo::new(writer);
            writer.write_all(b"taken").await.unwrap();
            let stream = writer.into_inner();
            let kept = to_std.then(|| stream.into_std().unwrap());
            drop(kept);
            let mut all = Vec::new();
            PollIo::new(reader).read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"taken");
        }
    });
}

#[test]
fn many_small_writes_are_one_entry() {
    run(async {
        let (reader, writer) = pair().await;
        let (mut reader, mut writer) = (PollIo::new(reader), PollIo::new(writer));
        let before = metrics().submissions;
        for place in 0..100 {
            writer.write_all(&pattern(place, 1)).await.unwrap();
        }
        writer.flush().await.unwrap();
        assert_eq!(metrics().submissions - before, 1);
        let mut all = vec![0; 100];
        reader.read_exact(&mut all).await.unwrap();
        check(&all, 0);
    });
}

/// A flush says that the kernel has everything.
#[test]
fn what_is_flushed_is_with_the_kernel() {
    run(async {
        let (stream, mut peer) = with_std_peer();
        let mut writer = PollIo::new(stream);
        peer.set_nonblocking(true).unwrap();
        writer.write_all(b"flushed").await.unwrap();
        assert_eq!(peer.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock, "it goes at the turn's end");
        writer.flush().await.unwrap();
        assert_eq!(peer.read(&mut [0; 9]).unwrap(), 7);
    });
}

#[test]
fn an_error_is_told_to_who_writes_next() {
    run(async {
        for flushes in [false, true] {
            let (stream, peer) = with_std_peer();
            let mut writer = PollIo::new(stream);
            writer.write_all(b"x").await.unwrap();
            writer.flush().await.unwrap();
            reset(peer);
            // The reset is here when the stream is readable.
            writer.get_ref().readable().await.unwrap();
            let first = once(|cx| Pin::new(&mut writer).poll_write(cx, b"x")).await;
            assert!(matches!(first, Poll::Ready(Ok(1))), "it is taken first");
            let error = if flushes { writer.flush().await } else { writer.close().await };
            assert!(matches!(error.unwrap_err().kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
        }
        let (writer, reader) = pipe::pipe().unwrap();
        let mut writer = PollIo::new(writer);
        drop(reader);
        turn().await;
        let error = async {
            writer.write_all(b"x").await?;
            writer.flush().await
        };
        assert_eq!(error.await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// Writes until that fails, after the peer is gone.
async fn write_in_vain<S: ringtoss::compat::Writable>(writer: &mut PollIo<S>) -> ErrorKind {
    for _ in 0..often(1000) {
        match poll_fn(|cx| writer.poll_send(cx, b"x")).await {
            Ok(count) => assert_eq!(count, 1),
            Err(error) => return error.kind(),
        }
        turn().await;
    }
    panic!("it can be written to for ever");
}

/// The kernel tells an error once, and another one afterwards; one of these is of no use to whoever comes later.
async fn stays_broken<S: ringtoss::compat::Writable>(mut writer: PollIo<S>) -> S {
    let first = write_in_vain(&mut writer).await;
    assert!(matches!(first, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{first}");
    for bytes in [&[1; 1][..], &[2; 100_000], &[]] {
        for _ in 0..3 {
            let error = poll_fn(|cx| writer.poll_send(cx, bytes)).await.unwrap_err();
            assert_eq!(error.kind(), first);
            assert!(error.raw_os_error().is_some());
            let error = poll_fn(|cx| writer.poll_send_vectored(cx, &[IoSlice::new(bytes); 3])).await.unwrap_err();
            assert_eq!(error.kind(), first);
            assert_eq!(poll_fn(|cx| writer.poll_sent(cx)).await.unwrap_err().kind(), first);
            assert_eq!(poll_fn(|cx| writer.poll_end(cx)).await.unwrap_err().kind(), first);
            turn().await;
        }
    }
    writer.into_inner()
}

#[test]
fn a_connection_that_is_gone_stays_gone() {
    run(async {
        for direct in [false, true] {
            let wrap = if direct { PollIo::direct } else { PollIo::new };
            let (stream, peer) = with_std_peer();
            reset(peer);
            stream.readable().await.unwrap();
            // Given up and wrapped again it is as new, and learns it again.
            let stream = stays_broken(wrap(stream)).await;
            let stream = stays_broken(wrap(stream)).await;
            // It is told to who writes only: the other direction has an end, and nobody has lost anything by a shutdown.
            let mut both = wrap(stream);
            assert_eq!(both.read(&mut [0; 9]).await.unwrap(), 0);
            both.flush().await.unwrap();
            both.close().await.unwrap();
            // What the peer's end makes of the writes of a half, and of a Unix stream, of which something can still be read.
            let (stream, peer) = with_std_peer();
            drop(peer);
            let (_reader, writer) = stream.into_split();
            let wrap = if direct { PollIo::direct } else { PollIo::new };
            stays_broken(wrap(writer)).await;
            let (stream, mut peer) = unix();
            peer.write_all("last words").await.0.unwrap();
            drop(peer);
            let wrap = if direct { PollIo::direct } else { PollIo::new };
            let mut stream = stays_broken(wrap(stream)).await;
            assert_eq!(stream.read(Vec::with_capacity(99)).await.1, b"last words");
        }
    });
}

/// The writes of what was shut down here fail at once; flushing and ending it once more does not.
#[test]
fn after_its_end_nothing_is_taken() {
    run(async {
        for direct in [false, true] {
            let (stream, peer) = with_std_peer();
            let mut ours = if direct { PollIo::direct(stream) } else { PollIo::new(stream) };
            ours.write_all(b"all").await.unwrap();
            ours.close().await.unwrap();
            for _ in 0..3 {
                assert_eq!(ours.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
                ours.flush().await.unwrap();
                ours.close().await.unwrap();
            }
            assert_eq!(spawn_blocking(move || std::io::read_to_string(peer)).await.unwrap().unwrap(), "all");
        }
    });
}

#[test]
fn both_directions_of_a_unix_stream_from_two_tasks() {
    run(async {
        let (ours, theirs) = unix();
        let (mut reader, mut writer) = PollIo::new(ours).split();
        let (their_reader, mut their_writer) = tokio::io::split(PollIo::new(theirs));
        let echo = spawn(async move {
            tokio::io::copy(&mut tokio::io::BufReader::new(their_reader), &mut their_writer).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut their_writer).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut their_writer).await.unwrap();
        });
        let write = spawn(async move {
            for place in (0..500_000).step_by(5_000) {
                writer.write_all(&pattern(place, 5_000)).await.unwrap();
            }
            writer.close().await.unwrap();
        });
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        check(&all, 0);
        assert_eq!(all.len(), 500_000);
        write.await.unwrap();
        echo.await.unwrap();
    });
}

#[test]
fn lines_of_a_pipe_that_goes_back_in_the_middle() {
    run(async {
        let (mut writer, reader) = pipe::pipe().unwrap();
        writer.write_all("one\ntwo\nthree").await.0.unwrap();
        let mut reader = PollIo::new(reader);
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        assert_eq!(line, "one\n");
        drop(writer);
        // What was read ahead goes along, and comes before the end.
        let mut reader = reader.into_inner();
        let (result, rest) = reader.read_to_end(Vec::new()).await;
        result.unwrap();
        assert_eq!(rest, b"two\nthree");
    });
}

#[test]
fn a_child_says_back_what_it_is_told() {
    run(async {
        use std::process::Stdio;
        let mut child =
            ringtoss::process::Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = PollIo::new(child.stdin.take().unwrap());
        let mut stdout = PollIo::new(child.stdout.take().unwrap());
        let write = async {
            stdin.write_all(&pattern(0, 300_000)).await.unwrap();
            stdin.close().await.unwrap();
            // A pipe ends when it is dropped.
            drop(stdin);
        };
        let mut all = Vec::new();
        let (_, count) = futures::join!(write, stdout.read_to_end(&mut all));
        assert_eq!(count.unwrap(), 300_000);
        check(&all, 0);
        assert!(child.wait().await.unwrap().success());
    });
}

/// A pipe that another process shares is not made non-blocking.
#[test]
fn a_pipe_s_flags_are_left_alone() {
    run(async {
        let (std_reader, std_writer) = std::io::pipe().unwrap();
        let fd = std_writer.as_raw_fd();
        let mut writer = PollIo::new(pipe::Sender::from(std_writer));
        let mut reader = PollIo::new(pipe::Receiver::from(std_reader));
        let read = spawn_blocking(|| ()).await;
        read.unwrap();
        let echo = spawn(async move {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.unwrap();
            all
        });
        writer.write_all(&pattern(0, 300_000)).await.unwrap();
        let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim().to_string();
        assert_eq!(i32::from_str_radix(&flags, 8).unwrap() & libc::O_NONBLOCK, 0);
        drop(writer);
        let all = echo.await.unwrap();
        check(&all, 0);
        assert_eq!(all.len(), 300_000);
    });
}

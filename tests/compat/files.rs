//! Files: position, order and errors, against a model and against tokio's rules.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::Poll;

use futures::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWrite, AsyncWriteExt,
};
use ringtoss::compat::PollIo;
use ringtoss::fs::{File, OpenOptions};

use crate::util::*;

fn file() -> (File, std::fs::File) {
    let file = tempfile::tempfile().unwrap();
    (File::from_std(file.try_clone().unwrap()), file)
}

/// What is in it, whatever its position.
fn all_of(file: &std::fs::File) -> Vec<u8> {
    let mut all = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut all, 0).unwrap();
    all
}

/// What a file is, and where its position.
#[derive(Default)]
struct Model {
    bytes: Vec<u8>,
    position: usize,
}

impl Model {
    fn read(&mut self, at_most: usize) -> &[u8] {
        let start = self.position.min(self.bytes.len());
        let end = (start + at_most).min(self.bytes.len());
        self.position += end - start;
        &self.bytes[start..end]
    }

    fn write(&mut self, bytes: &[u8]) {
        let end = self.position + bytes.len();
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[self.position..end].copy_from_slice(bytes);
        self.position = end;
    }
}

/// Any sequence of reads, writes, seeks, flushes and polls that are dropped.
fn play(seed: u64, cloned: bool) {
    run(async move {
        let (file, std_file) = file();
        let clone = cloned.then(|| file.try_clone().unwrap());
        let mut file = PollIo::new(file);
        let mut random = Random(seed);
        let mut model = Model::default();
        for step in 0..300 {
            match random.below(12) {
                0..=2 => {
                    let bytes = pattern(step * 1000, random.below_one_of([3, 5_000, 300_000]));
                    // Told to wait, it may bring other bytes.
                    let other = pattern(step * 1000 + 7, bytes.len() / 2);
                    let wrote = poll_fn(|cx| Poll::Ready(Pin::new(&mut file).poll_write(cx, &other))).await;
                    match wrote {
                        Poll::Ready(count) => model.write(&other[..count.unwrap()]),
                        Poll::Pending => {
                            let count = file.write(&bytes).await.unwrap();
                            model.write(&bytes[..count]);
                        }
                    }
                }
                3 => {
                    let bytes = pattern(step * 1000, 1 + random.below(9000));
                    let (head, tail) = bytes.split_at(bytes.len() / 3);
                    let count = file.write_vectored(&[IoSlice::new(head), IoSlice::new(tail)]).await.unwrap();
                    model.write(&bytes[..count]);
                }
                4..=5 => {
                    let mut buf = vec![0; 1 + random.below_one_of([3, 5_000, 300_000])];
                    let count = file.read(&mut buf).await.unwrap();
                    assert_eq!(&buf[..count], model.read(count), "step {step}");
                    assert!(count > 0 || model.position >= model.bytes.len(), "a false end");
                }
                6 => {
                    // Polled and dropped: nothing has happened.
                    let mut buf = vec![0; 100];
                    let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut file).poll_read(cx, &mut buf))).await;
                    if let Poll::Ready(count) = read {
                        let count = count.unwrap();
                        assert_eq!(&buf[..count], model.read(count), "step {step}");
                    }
                }
                7 => {
                    let at_most = random.below(100_000);
                    let bytes = file.fill_buf().await.unwrap();
                    let bytes = bytes[..bytes.len().min(at_most)].to_vec();
                    assert_eq!(bytes, model.read(bytes.len()), "step {step}");
                    file.consume_unpin(bytes.len());
                }
                8 => {
                    let to = random.below(model.bytes.len() + 10);
                    assert_eq!(file.seek(SeekFrom::Start(to as u64)).await.unwrap(), to as u64);
                    model.position = to;
                }
                9 => {
                    let by = random.below(2000) as i64 - 1000;
                    let to = model.position as i64 + by;
                    match poll_fn(|cx| Poll::Ready(Pin::new(&mut file).poll_seek(cx, SeekFrom::Current(by)))).await {
                        Poll::Ready(result) if to < 0 => {
                            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
                        }
                        Poll::Ready(result) => {
                            assert_eq!(result.unwrap(), to as u64);
                            model.position = to as usize;
                        }
                        // Dropped: nothing has happened.
                        Poll::Pending => {}
                    }
                }
                10 => {
                    file.flush().await.unwrap();
                    assert!(all_of(&std_file) == model.bytes, "a flush says that the kernel has it");
                }
                _ => {
                    file = PollIo::new(file.into_inner());
                }
            }
        }
        if random.below(2) == 0 {
            file.close().await.unwrap();
            file.close().await.unwrap();
        }
        // Given back, the position is where the caller is.
        let mut inner = file.into_inner();
        assert_eq!(inner.stream_position().await.unwrap(), model.position as u64);
        drop(clone);
        // And a drop writes what was taken.
        let mut file = PollIo::new(inner);
        let count = file.write(b"the last words").await.unwrap();
        model.write(&b"the last words"[..count]);
        drop(file);
        until(|| all_of(&std_file) == model.bytes).await;
    });
}

#[test]
fn a_file_is_what_the_model_says() {
    for seed in 1..16 {
        play(seed * 0x9e37_79b9, seed % 3 == 0);
    }
}

/// tokio's and std's own files, driven by the same calls.
#[test]
fn tokio_s_traits_move_the_position_as_tokio_does() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
    run(async {
        let (file, mut std_file) = file();
        let mut file = PollIo::new(file);
        AsyncWriteExt::write_all(&mut file, b"first line\nsecond line\n").await.unwrap();
        assert_eq!(AsyncSeekExt::stream_position(&mut file).await.unwrap(), 23, "it waits for the write");
        AsyncSeekExt::rewind(&mut file).await.unwrap();
        let mut line = String::new();
        AsyncBufReadExt::read_line(&mut file, &mut line).await.unwrap();
        assert_eq!(line, "first line\n");
        // A write goes to where the caller is, not to where the buffer was filled up to.
        AsyncWriteExt::write_all(&mut file, b"SECOND").await.unwrap();
        AsyncWriteExt::shutdown(&mut file).await.unwrap();
        assert_eq!(std_file.stream_position().unwrap(), 17);
        let mut rest = String::new();
        AsyncReadExt::read_to_string(&mut file, &mut rest).await.unwrap();
        assert_eq!(rest, " line\n");
        let end = AsyncSeekExt::seek(&mut file, SeekFrom::End(-6)).await.unwrap();
        assert_eq!(end, 17);
        let mut buf = Vec::with_capacity(100);
        AsyncReadExt::read_buf(&mut file, &mut buf).await.unwrap();
        assert_eq!(buf, b" line\n");
        let error = AsyncSeekExt::seek(&mut file, SeekFrom::Current(-1000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(AsyncSeekExt::stream_position(&mut file).await.unwrap(), 23);
    });
}

#[test]
fn a_full_disk_is_told_to_the_next_write_or_flush_once() {
    run(async {
        for way in 0..3 {
            let mut full = PollIo::new(OpenOptions::new().write(true).open("/dev/full").await.unwrap());
            let error = match full.write(b"too much").await {
                Err(error) => error,
                Ok(_) => match way {
                    0 => full.flush().await.unwrap_err(),
                    1 => full.close().await.unwrap_err(),
                    _ => full.write(b"more").await.unwrap_err(),
                },
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull);
            full.flush().await.expect("it is told once");
        }
    });
}

#[test]
fn appending_and_reading_in_turns() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "0123456789").unwrap();
        let mut file = PollIo::new(OpenOptions::new().read(true).append(true).open(&path).await.unwrap());
        let mut buf = [0; 4];
        file.read_exact(&mut buf).await.unwrap();
        file.write_all(b"abc").await.unwrap();
        assert_eq!(file.read(&mut buf).await.unwrap(), 0, "the position is at the end now");
        file.seek(SeekFrom::Start(8)).await.unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "89abc");
    });
}

/// A FIFO that nobody has opened for writing yet has no end.
#[test]
fn a_fifo_waits_for_its_first_writer() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut fifo = PollIo::new(File::open(&path).await.unwrap());
        let mut buf = [0; 9];
        let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut fifo).poll_read(cx, &mut buf))).await;
        assert!(read.is_pending());
        turn().await;
        let writer = ringtoss::spawn_blocking(move || {
            std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all(b"at last").unwrap();
        });
        let mut all = Vec::new();
        fifo.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"at last");
        writer.await.unwrap();
    });
}

#[test]
fn a_large_file_goes_through_both_families() {
    run(async {
        let (source, mut std_source) = file();
        std_source.write_all(&pattern(0, 3_000_000)).unwrap();
        std_source.rewind().unwrap();
        let (sink, mut std_sink) = file();
        let (mut source, mut sink) = (PollIo::new(source), PollIo::new(sink));
        assert_eq!(futures::io::copy_buf(&mut source, &mut sink).await.unwrap(), 3_000_000);
        sink.flush().await.unwrap();
        tokio::io::AsyncSeekExt::rewind(&mut source).await.unwrap();
        assert_eq!(tokio::io::copy(&mut source, &mut sink).await.unwrap(), 3_000_000);
        tokio::io::AsyncWriteExt::flush(&mut sink).await.unwrap();
        let mut all = Vec::new();
        std_sink.rewind().unwrap();
        std_sink.read_to_end(&mut all).unwrap();
        let (first, second) = all.split_at(3_000_000);
        check(first, 0);
        assert!(first == second);
    });
}

const _: () = {
    const fn all_of_it<T: AsyncRead + AsyncBufRead + AsyncWrite + AsyncSeek>() {}
    all_of_it::<PollIo<File>>();
};

/// Empty buffers in front do not make a write one of nothing.
#[test]
fn empty_buffers_come_before_a_large_one() {
    run(async {
        let (file, other) = file();
        let mut adapter = PollIo::new(file);
        let large = vec![7; 600 * 1024];
        let slices = [IoSlice::new(b""), IoSlice::new(b""), IoSlice::new(&large)];
        let mut taken = poll_fn(|cx| Pin::new(&mut adapter).poll_write_vectored(cx, &slices)).await.unwrap();
        assert!(taken > 0);
        while taken < large.len() {
            taken += adapter.write(&large[taken..]).await.unwrap();
        }
        adapter.flush().await.unwrap();
        assert!(all_of(&other) == large);
    });
}

//! `BufReader` and `BufWriter`, above all: dropped at any moment, they lose nothing and repeat nothing.

use std::io::ErrorKind;

use ringtoss::io::{self, BufReader, BufWriter, Read, Write};

use crate::util::{Pieces, Random, Taker, check, pair, pattern, poll_and_drop, run, turn};

#[test]
fn lines_are_those_of_std() {
    use std::io::BufRead;
    run(async {
        let texts = ["", "\n", "one", "one\n", "one\r\ntwo\n\nthree", "\r\n\r", "ünï\ncödé", &"long ".repeat(10_000)];
        for text in texts {
            let expected: Vec<String> = text.as_bytes().lines().map(Result::unwrap).collect();
            for capacity in [1, 3, 8192] {
                let mut lines = BufReader::with_capacity(capacity, text.as_bytes()).lines();
                let mut got = Vec::new();
                while let Some(line) = lines.next_line().await.unwrap() {
                    got.push(line);
                }
                assert_eq!(got, expected);
            }
        }
        let mut reader = BufReader::new(&b"good\n\xff\nafter"[..]);
        let mut line = String::from("kept ");
        assert_eq!(reader.read_line(&mut line).await.unwrap(), 5);
        assert_eq!(reader.read_line(&mut line).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(reader.read_line(&mut line).await.unwrap(), 5);
        assert_eq!((reader.read_line(&mut line).await.unwrap(), &line[..]), (0, "kept good\nafter"));
    });
}

#[test]
fn what_is_read_ahead_is_told_and_consumed() {
    run(async {
        let mut reader = BufReader::with_capacity(4, &b"abcdefgh"[..]);
        assert_eq!(reader.fill_buf().await.unwrap(), b"abcd");
        reader.consume(1);
        assert_eq!(reader.fill_buf().await.unwrap(), b"bcd");
        // Large reads give what is there first, and go past the buffer then.
        assert_eq!(reader.read(Vec::with_capacity(100)).await.1, b"bcd");
        assert_eq!(reader.read(Vec::with_capacity(100)).await.1, b"efgh");
        assert_eq!(reader.buffer(), b"");
        assert_eq!(reader.fill_buf().await.unwrap(), b"");
        let mut reader = BufReader::with_capacity(4, &b"abcdefgh"[..]);
        assert_eq!(reader.read(Vec::with_capacity(1)).await.1, b"a");
        assert_eq!((reader.buffer(), *reader.get_ref()), (&b"bcd"[..], &b"efgh"[..]));
    });
}

/// Reads a stream in every way, each future dropped after a few polls as often as not, and checks that every byte comes
/// once.
async fn read_with_drops<R: Read>(reader: R, len: usize, seed: u64) {
    let mut random = Random(seed);
    let mut reader = BufReader::with_capacity(1 + random.below(300), reader);
    let mut place = 0;
    while place < len {
        let polls = if random.below(2) == 0 { random.below(3) } else { 100_000 };
        let want = 1 + random.below(500);
        let got = match random.below(5) {
            0 => poll_and_drop(reader.read(Vec::with_capacity(want)), polls).await.map(|(_, buf)| buf),
            1 => {
                let want = want.min(len - place);
                poll_and_drop(reader.read_exact(Vec::with_capacity(want), want), polls).await.map(|(result, buf)| {
                    assert_eq!((result.unwrap(), buf.len()), (want, want));
                    buf
                })
            }
            2 => {
                let mut line = Vec::new();
                let count = poll_and_drop(reader.read_until(7, &mut line), polls).await.map(Result::unwrap);
                assert_eq!(count.unwrap_or(0), line.len());
                Some(line)
            }
            3 => {
                let most = random.below(100);
                let peeked = poll_and_drop(reader.fill_buf(), polls).await;
                let got = peeked.and_then(Result::ok).map(|bytes| bytes[..bytes.len().min(most)].to_vec());
                reader.consume(got.as_ref().map_or(0, Vec::len));
                got
            }
            _ => {
                // Seldom finishes before the end.
                let (polls, vector) = (random.below(4), Vec::with_capacity(50));
                poll_and_drop(reader.read_to_end(vector), polls).await.map(|(_, buf)| buf)
            }
        };
        let got = got.unwrap_or_default();
        check(&got, place);
        place += got.len();
    }
    assert_eq!((place, reader.read(vec![0; 8]).await.0.unwrap()), (len, 0));
}

#[test]
fn a_buf_reader_loses_nothing_when_it_is_dropped_at_any_moment() {
    run(async {
        for seed in 1..=8 {
            let (reader, mut writer) = pair().await;
            let len = 40_000;
            let write = ringtoss::spawn(async move {
                let (mut place, mut random) = (0, Random(seed + 100));
                while place < len {
                    let count = (1 + random.below(700)).min(len - place);
                    writer.write_all(pattern(place, count)).await.0.unwrap();
                    place += count;
                    turn().await;
                }
            });
            read_with_drops(reader, len, seed).await;
            write.await.unwrap();
            let (reader, mut writer) = io::duplex(64);
            let write = ringtoss::spawn(async move { writer.write_all(pattern(0, 20_000)).await.0 });
            read_with_drops_of_memory(reader, 20_000, seed).await;
            write.await.unwrap().unwrap();
        }
    });
}

/// Without `read_to_end`, which a duplex has from its trait and which takes several steps.
async fn read_with_drops_of_memory<R: Read>(reader: R, len: usize, seed: u64) {
    let mut random = Random(seed);
    let mut reader = BufReader::with_capacity(50, reader);
    let mut place = 0;
    while place < len {
        let want = (1 + random.below(40)).min(len - place);
        let polls = 1 + random.below(2);
        let read = reader.read_exact(Vec::with_capacity(want), want);
        let got = poll_and_drop(read, polls).await.map_or_else(Vec::new, |(_, buf)| buf);
        check(&got, place);
        place += got.len();
    }
}

#[test]
fn a_reader_of_ones_own_under_a_buf_reader() {
    run(async {
        let mut reader = BufReader::with_capacity(100, Pieces::of(20_000));
        let mut all = Vec::new();
        while reader.read_until(3, &mut all).await.unwrap() > 0 {}
        assert_eq!(all.len(), 20_000);
        check(&all, 0);
    });
}

#[test]
fn small_writes_go_together_and_large_ones_by_themselves() {
    run(async {
        let mut writer = BufWriter::with_capacity(10, Vec::new());
        writer.write_all("12345").await.0.unwrap();
        assert_eq!((writer.write("67890").await.0.unwrap(), writer.buffered()), (5, 10));
        assert!(writer.get_ref().is_empty());
        writer.write_all("a").await.0.unwrap();
        assert_eq!((&writer.get_ref()[..], writer.buffered()), (&b"1234567890"[..], 1));
        writer.write_all("this one is large").await.0.unwrap();
        assert_eq!((&writer.get_ref()[10..], writer.buffered()), (&b"athis one is large"[..], 0));
        writer.write_vectored(("", "end")).await.0.unwrap();
        writer.shutdown().await.unwrap();
        assert_eq!(writer.into_inner(), b"1234567890athis one is largeend");
    });
}

#[test]
fn a_writer_that_fails_loses_what_it_took_and_nothing_else() {
    run(async {
        let mut writer = BufWriter::with_capacity(4096, Taker::of(5_000));
        writer.write_all(pattern(0, 4_000)).await.0.unwrap();
        writer.write_all(pattern(4_000, 4_000)).await.0.unwrap();
        assert_eq!(writer.flush().await.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!((writer.get_ref().taken.len(), writer.buffered()), (5_000, 3_000));
        writer.get_mut().most = 100_000;
        writer.flush().await.unwrap();
        assert_eq!(writer.into_inner().taken, pattern(0, 8_000));
    });
}

/// Writes a pattern in pieces, with flushes, each future dropped after a few polls as often as not. A write that is
/// dropped is written again: it was either gathered or it was not.
async fn write_with_drops<W: Write>(writer: &mut BufWriter<W>, capacity: usize, len: usize, seed: u64) {
    let mut random = Random(seed);
    let mut place = 0;
    while place < len {
        let polls = if random.below(2) == 0 { random.below(3) } else { 100_000 };
        if random.below(4) == 0 {
            if let Some(result) = poll_and_drop(writer.flush(), polls).await {
                result.unwrap();
            }
            continue;
        }
        // Small enough to be gathered: what a dropped large one has taken is for `take_dropped_write` to tell.
        let count = (1 + random.below(capacity - 1)).min(len - place);
        if let Some((result, _)) = poll_and_drop(writer.write(pattern(place, count)), polls).await {
            place += result.unwrap();
        }
    }
    writer.shutdown().await.unwrap();
}

#[test]
fn a_buf_writer_loses_and_repeats_nothing_when_it_is_dropped_at_any_moment() {
    run(async {
        for seed in 1..=8 {
            let (writer, mut reader) = pair().await;
            let mut writer = BufWriter::with_capacity(60_000, writer);
            let len = 1_000_000;
            let read = async {
                let mut all = Vec::new();
                loop {
                    let (result, buf) = reader.read(Vec::with_capacity(50_000)).await;
                    if result.unwrap() == 0 {
                        return all;
                    }
                    all.extend_from_slice(&buf);
                    turn().await;
                }
            };
            let (all, ()) = futures::join!(read, write_with_drops(&mut writer, 60_000, len, seed));
            assert_eq!(all.len(), len);
            check(&all, 0);

            let mut writer = BufWriter::with_capacity(500, Taker::of(usize::MAX));
            write_with_drops(&mut writer, 500, 20_000, seed).await;
            assert_eq!(writer.into_inner().taken, pattern(0, 20_000));
        }
    });
}

#[test]
fn a_large_write_that_was_dropped_is_told_of() {
    run(async {
        let (writer, mut reader) = pair().await;
        let mut writer = BufWriter::with_capacity(10, writer);
        let large = 8 << 20;
        assert!(poll_and_drop(writer.write_all(pattern(0, large)), 1).await.is_none());
        let taken = writer.take_dropped_write().await.unwrap().unwrap();
        assert!(taken < large);
        // Goes on, gathered and flushed with a drop in between; the fate of the large one is not taken for that of a small one.
        assert!(poll_and_drop(writer.write_all(pattern(taken, large)), 1).await.is_none());
        let read = async {
            let mut count = 0;
            loop {
                let (result, buf) = reader.read(Vec::with_capacity(100_000)).await;
                if result.unwrap() == 0 {
                    return count;
                }
                check(&buf[..buf.len().min(10)], count);
                count += buf.len();
                if count == large {
                    return count;
                }
            }
        };
        let write = async {
            let more = writer.take_dropped_write().await.map_or(0, Result::unwrap);
            writer.write_all(pattern(taken + more, large - taken - more)).await.0.unwrap();
        };
        assert_eq!(futures::join!(read, write).0, large);
    });
}

#[test]
fn the_fate_of_a_large_write_is_not_taken_for_that_of_a_flush() {
    run(async {
        let (writer, mut reader) = pair().await;
        let mut writer = BufWriter::with_capacity(10, writer);
        assert!(poll_and_drop(writer.write_all(pattern(0, 12 << 20)), 3).await.is_none());
        writer.write_all("the end").await.0.unwrap();
        // Waits for the large one, and is dropped before it is submitted.
        assert!(poll_and_drop(writer.flush(), 1).await.is_none());
        let read = async { reader.read_to_end(Vec::new()).await.1 };
        let (all, result) = futures::join!(read, writer.shutdown());
        result.unwrap();
        let large = all.strip_suffix(b"the end").expect("it arrives");
        assert!(!large.is_empty());
        check(large, 0);
    });
}

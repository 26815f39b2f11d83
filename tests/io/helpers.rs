//! What readers and writers can do besides: numbers, strings, pieces, positions.

use std::io::{ErrorKind, SeekFrom};

use ringtoss::fs::File;
use ringtoss::io::{self, BufReader, BufWriter, Read, Write};

use crate::util::{Pieces, pattern, poll_and_drop, run};

async fn write_numbers<W: Write>(writer: &mut W) {
    writer.write_u8(0xfe).await.unwrap();
    writer.write_i8(-2).await.unwrap();
    writer.write_u16(0x0102).await.unwrap();
    writer.write_i16_le(-3).await.unwrap();
    writer.write_u32_le(0x0102_0304).await.unwrap();
    writer.write_i32(i32::MIN).await.unwrap();
    writer.write_u64(u64::MAX - 1).await.unwrap();
    writer.write_i64_le(i64::MIN + 1).await.unwrap();
    writer.write_u128(1 << 127).await.unwrap();
    writer.write_i128_le(-1).await.unwrap();
    writer.write_f32(1.5).await.unwrap();
    writer.write_f64_le(-0.1).await.unwrap();
    writer.flush().await.unwrap();
}

async fn read_numbers<R: Read>(reader: &mut R) {
    assert_eq!(reader.read_u8().await.unwrap(), 0xfe);
    assert_eq!(reader.read_i8().await.unwrap(), -2);
    assert_eq!(reader.read_u16().await.unwrap(), 0x0102);
    assert_eq!(reader.read_i16_le().await.unwrap(), -3);
    assert_eq!(reader.read_u32_le().await.unwrap(), 0x0102_0304);
    assert_eq!(reader.read_i32().await.unwrap(), i32::MIN);
    assert_eq!(reader.read_u64().await.unwrap(), u64::MAX - 1);
    assert_eq!(reader.read_i64_le().await.unwrap(), i64::MIN + 1);
    assert_eq!(reader.read_u128().await.unwrap(), 1 << 127);
    assert_eq!(reader.read_i128_le().await.unwrap(), -1);
    assert_eq!(reader.read_f32().await.unwrap(), 1.5);
    assert_eq!(reader.read_f64_le().await.unwrap(), -0.1);
    assert_eq!(reader.read_u16().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn numbers_are_written_and_read_in_both_orders() {
    run(async {
        let (mut plain, mut gathered, mut straight) = (Vec::new(), BufWriter::new(Vec::new()), Vec::new());
        write_numbers(&mut plain).await;
        write_numbers(&mut gathered).await;
        write_numbers(&mut BufWriter::with_capacity(3, &mut straight)).await;
        assert_eq!(plain[..8], [0xfe, 0xfe, 1, 2, 0xfd, 0xff, 4, 3]);
        assert_eq!(&plain, gathered.get_ref());
        assert_eq!(plain, straight);
        read_numbers(&mut &plain[..]).await;
        for capacity in [1, 3, 8192] {
            read_numbers(&mut BufReader::with_capacity(capacity, &plain[..])).await;
            read_numbers(&mut &mut BufReader::with_capacity(capacity, &plain[..])).await;
        }
        // Through the kernel.
        let mut file = File::from_std(tempfile::tempfile().unwrap());
        write_numbers(&mut file).await;
        file.rewind().await.unwrap();
        read_numbers(&mut file).await;
    });
}

#[test]
fn a_number_that_is_dropped_half_way_is_whole_the_next_time() {
    run(async {
        let (mut here, there) = io::duplex(64);
        let mut reader = BufReader::new(there);
        here.write_u16(0x0102).await.unwrap();
        assert!(poll_and_drop(reader.read_u32(), 3).await.is_none());
        here.write_u16(0x0304).await.unwrap();
        assert_eq!(reader.read_u32().await.unwrap(), 0x0102_0304);
    });
}

#[test]
fn a_string_is_read_to_the_end_and_must_be_one() {
    run(async {
        let (result, text) = (&b"over the ring"[..]).read_to_string("go ".to_string()).await;
        assert_eq!((result.unwrap(), &text[..]), (13, "go over the ring"));
        let (result, text) = (&b"\xc3\xbcber\xff"[..]).read_to_string("kept".to_string()).await;
        assert_eq!((result.unwrap_err().kind(), &text[..]), (ErrorKind::InvalidData, "kept"));
        let mut folder = File::open("/").await.unwrap();
        let (result, text) = Read::read_to_string(&mut folder, "kept".to_string()).await;
        assert_eq!((result.unwrap_err().kind(), &text[..]), (ErrorKind::IsADirectory, "kept"));
    });
}

#[test]
fn pieces_are_those_of_std() {
    use std::io::BufRead;
    run(async {
        for text in ["", ",", "a", "a,", ",a", "one,two,,three"] {
            let expected: Vec<Vec<u8>> = BufRead::split(text.as_bytes(), b',').map(Result::unwrap).collect();
            for capacity in [1, 3, 8192] {
                let mut pieces = BufReader::with_capacity(capacity, text.as_bytes()).split(b',');
                let mut got = Vec::new();
                while let Some(piece) = pieces.next_segment().await.unwrap() {
                    got.push(piece);
                }
                assert_eq!(got, expected, "{text:?}");
                assert!(!pieces.get_mut().has_data_left().await.unwrap());
            }
        }
        let mut reader = BufReader::with_capacity(7, Pieces::of(5000));
        let pattern = pattern(0, 5000);
        let place = pattern.iter().position(|byte| *byte == 200).unwrap() + 1;
        assert_eq!(reader.skip_until(200).await.unwrap(), place);
        assert_eq!(reader.read_u8().await.unwrap(), pattern[place]);
        let mut reader = BufReader::new(&b"no newline"[..]);
        assert!(reader.has_data_left().await.unwrap());
        assert_eq!(reader.skip_until(b'\n').await.unwrap(), 10);
        assert_eq!(reader.skip_until(b'\n').await.unwrap(), 0);
    });
}

#[test]
fn positions_of_buffered_files_are_those_of_what_was_read_and_written() {
    run(async {
        let mut writer = BufWriter::new(File::from_std(tempfile::tempfile().unwrap()));
        writer.write_all(pattern(0, 100)).await.0.unwrap();
        assert_eq!(writer.seek(SeekFrom::Start(10)).await.unwrap(), 10);
        writer.write_all("here").await.0.unwrap();
        writer.flush().await.unwrap();
        let mut file = writer.into_inner();
        file.rewind().await.unwrap();

        let mut reader = BufReader::with_capacity(32, file);
        reader.read_exact(Vec::with_capacity(8), 8).await.0.unwrap();
        // Read ahead are 24 more.
        assert_eq!(reader.seek(SeekFrom::Current(2)).await.unwrap(), 10);
        assert_eq!(reader.read_exact(Vec::with_capacity(4), 4).await.1, b"here");
        assert_eq!(reader.read_u8().await.unwrap(), pattern(14, 1)[0]);
        assert_eq!(reader.seek(SeekFrom::Current(-5)).await.unwrap(), 10);
        assert_eq!(reader.read_exact(Vec::with_capacity(4), 4).await.1, b"here");
        assert_eq!(reader.seek(SeekFrom::Current(-15)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(reader.seek(SeekFrom::End(-1)).await.unwrap(), 99);
        assert_eq!(reader.read_u8().await.unwrap(), pattern(99, 1)[0]);
        assert!(!reader.has_data_left().await.unwrap());
    });
}

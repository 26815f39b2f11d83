//! Much, both ways at once.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use ringtoss::net::TcpStream;

use crate::util::*;

const LEN: usize = 64 << 20;
const BLOCK: usize = 1 << 20;

/// Sends the length in blocks, each with its number in front, and gives the sum over all bytes.
async fn send(writer: &mut ringtoss::net::OwnedWriteHalf, seed: usize) -> u64 {
    let mut sum = DefaultHasher::new();
    let mut block = pattern(seed, BLOCK);
    for number in 0..LEN / BLOCK {
        block[..8].copy_from_slice(&number.to_ne_bytes());
        sum.write(&block);
        let result;
        (result, block) = writer.write_all(block).await;
        result.unwrap();
    }
    writer.shutdown().await.unwrap();
    sum.finish()
}

async fn receive(reader: &mut ringtoss::net::OwnedReadHalf) -> (usize, u64) {
    let mut sum = DefaultHasher::new();
    let mut buf = Vec::with_capacity(300_000);
    let mut len = 0;
    loop {
        let result;
        (result, buf) = reader.read(buf).await;
        sum.write(&buf);
        len += buf.len();
        if result.unwrap() == 0 {
            return (len, sum.finish());
        }
    }
}

async fn both_ways(stream: TcpStream, seed: usize) -> (u64, (usize, u64)) {
    let (mut reader, mut writer) = stream.into_split();
    futures::join!(send(&mut writer, seed), receive(&mut reader))
}

#[test]
fn sixty_four_mebibytes_both_ways() {
    run(async {
        let (a, b) = pair().await;
        let a = ringtoss::spawn(both_ways(a, 1));
        let ((b_sent, b_received), a) = futures::join!(both_ways(b, 77), a);
        let (a_sent, a_received) = a.unwrap();
        assert_ne!(a_sent, b_sent);
        assert_eq!((a_received, b_received), ((LEN, b_sent), (LEN, a_sent)));
    });
}

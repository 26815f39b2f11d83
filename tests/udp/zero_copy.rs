//! Sending without copying. Over loopback the kernel copies all the same, and says so.

use ringtoss::net::udp::Transmit;

use crate::basics::{socket, std_socket};
use crate::util::*;

#[test]
fn datagrams_arrive_whole_and_the_buffer_comes_back() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, _) = socket().await;
        let bytes: Vec<u8> = (0..40_000u32).map(|index| (index * 7 + (index >> 8)) as u8).collect();
        let mut received = vec![0; 65_536];
        let mut expect = |what: &[u8]| {
            let len = peer.recv(&mut received).unwrap();
            assert!(received[..len] == *what, "{len} bytes");
        };
        for round in 0..3 {
            let (result, buf) = socket.send_to_zc(bytes.clone(), peer_address).await;
            assert_eq!((result.unwrap(), buf == bytes), (bytes.len(), true), "{round}");
            expect(&bytes);
            // Several of one size.
            let transmit = Transmit::to(peer_address).segment_len(1000);
            let (result, _) = socket.send_msg_zc(bytes.clone(), &transmit).await;
            assert_eq!(result.unwrap(), bytes.len());
            bytes.chunks(1000).for_each(&mut expect);
        }
        socket.connect(peer_address).await.unwrap();
        let (result, _) = socket.send_zc("a few").await;
        assert_eq!(result.unwrap(), 5);
        expect(b"a few");
        // One that is too large is refused as ever, with the buffer.
        let (result, buf) = socket.send_zc(vec![0; 70_000]).await;
        assert_eq!((result.unwrap_err().raw_os_error(), buf.len()), (Some(libc::EMSGSIZE), 70_000));
    });
}

//! `udp_echo` sends back the datagrams that it is sent.

use std::net::UdpSocket;

use ringtoss::net::udp::{Ecn, Transmit};
use ringtoss::time::timeout;

use crate::util::{PATIENCE, Running, example, run, start, text};

fn server() -> Option<(Running, String)> {
    let mut echo = example("udp_echo")?;
    echo.arg("127.0.0.1:0");
    let (running, line) = start(echo);
    let address = line.trim_end().strip_prefix("listening on ").expect(&line).to_string();
    Some((running, address))
}

#[test]
fn datagrams_come_back_whole() {
    let Some((_server, address)) = server() else { return };
    let clients: Vec<_> = (0..5).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let mut buf = vec![0; 65_536];
    for (number, client) in clients.iter().enumerate() {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for len in [0, 1, 1000, 9000, 60_000] {
            let sent = vec![number as u8; len];
            client.send_to(&sent, &address).unwrap();
            let (count, from) = client.recv_from(&mut buf).unwrap();
            assert_eq!((&buf[..count], from.to_string()), (&sent[..], address.clone()));
        }
    }
}

#[test]
fn what_is_sent_together_comes_back_one_by_one() {
    let Some((_server, address)) = server() else { return };
    let address = address.parse().unwrap();
    ringtoss::block_on(async {
        let client = ringtoss::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.set_recv_ecn(true).unwrap();
        for round in 0..20u8 {
            // 30 datagrams of 500 bytes and one of 7.
            let sent: Vec<u8> = (0..30 * 500 + 7).map(|place| (place / 500) as u8 ^ round).collect();
            let transmit = Transmit::to(address).segment_len(500).ecn(Ecn::Ect0);
            client.send_msg(sent.clone(), &transmit).await.0.unwrap();
            for part in sent.chunks(500) {
                let receive = client.recv_msg(Vec::with_capacity(9000));
                let (result, buf) = timeout(PATIENCE, receive).await.expect("the echo comes");
                assert_eq!((result.unwrap().ecn, &buf[..]), (Some(Ecn::Ect0), part));
            }
        }
    });
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let Some(mut echo) = example("udp_echo") else { return };
    echo.arg(&address);
    let output = run(echo, Vec::new());
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
}

//! What stands for an address.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs as _};

use ringtoss::net::{ToSocketAddrs, lookup_host};

use crate::util::run;

async fn all<A: ToSocketAddrs>(host: A) -> Vec<SocketAddr> {
    lookup_host(host).await.unwrap().collect()
}

#[test]
fn addresses_are_taken_as_they_are() {
    let v4 = SocketAddr::from(([127, 0, 0, 1], 80));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
    run(async {
        assert_eq!(all(v4).await, [v4]);
        assert_eq!(all(&v6).await, [v6]);
        assert_eq!(all(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80)).await, [v4]);
        assert_eq!(all(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 0)).await, [v6]);
        assert_eq!(all((IpAddr::from(Ipv4Addr::LOCALHOST), 80)).await, [v4]);
        assert_eq!(all((Ipv4Addr::LOCALHOST, 80)).await, [v4]);
        assert_eq!(all((Ipv6Addr::LOCALHOST, 80)).await, [v6]);
        assert_eq!(all([v4, v6]).await, [v4, v6]);
        assert_eq!(all(&[v4, v6][..]).await, [v4, v6]);
        assert_eq!(all(vec![v4, v6]).await, [v4, v6]);
        assert_eq!(all("127.0.0.1:80").await, [v4]);
        assert_eq!(all("[::1]:80".to_string()).await, [v6]);
        assert_eq!(all(("127.0.0.1", 80)).await, [v4]);
        assert_eq!(all(("::1".to_string(), 80)).await, [v6]);
    });
}

#[test]
fn names_give_what_std_gives() {
    run(async {
        let std: Vec<_> = "localhost:80".to_socket_addrs().unwrap().collect();
        assert_eq!(all("localhost:80").await, std);
        assert_eq!(all(("localhost", 80)).await, std);
        // None of these asks a server.
        let long = format!("{}:80", "x".repeat(64));
        for name in ["without-a-port", "localhost:port", "localhost:65536", "localhost:", "nul\0:80", long.as_str()] {
            let error = lookup_host(name).await.err().unwrap();
            let std = name.to_socket_addrs().unwrap_err();
            assert_eq!(error.kind(), std.kind(), "{name}: {error}; {std}");
        }
        assert_eq!(lookup_host("without-a-port").await.err().unwrap().kind(), ErrorKind::InvalidInput);
    });
}

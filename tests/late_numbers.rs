//! What the kernel hands to a worker thread names its descriptor by number until the worker gets to it: by then the number
//! may be somebody else's.

use std::future::Future;
use std::time::Duration;

use ringtoss::net::{TcpListener, TcpStream};

fn run<F: Future>(test: F) -> F::Output {
    ringtoss::block_on(async { ringtoss::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs") })
}

async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().unwrap();
    let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

#[test]
fn a_dropped_half_shuts_nobody_else_down() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..300 {
            let (a, b) = pair(&listener).await;
            let (reader, writer) = a.into_split();
            drop(reader);
            drop(writer);
            drop(b.into_split());
            // These get the numbers of those.
            let (mut c, mut d) = pair(&listener).await;
            c.write_all("there").await.0.unwrap();
            d.write_all("back").await.0.unwrap();
            assert_eq!(d.read(Vec::with_capacity(9)).await.1, b"there");
            assert_eq!(c.read(Vec::with_capacity(9)).await.1, b"back");
        }
    });
}

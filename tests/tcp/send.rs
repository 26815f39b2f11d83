//! What may be sent between threads and shared, held at compile time.

use std::net::Shutdown;
use std::time::Duration;

use ringtoss::net::*;

fn send<T: Send>(_: T) {}
fn send_and_sync<T: Send + Sync>() {}

#[test]
fn types_are_send_and_sync() {
    send_and_sync::<TcpListener>();
    send_and_sync::<TcpStream>();
    send_and_sync::<ReadHalf<'_>>();
    send_and_sync::<WriteHalf<'_>>();
    send_and_sync::<OwnedReadHalf>();
    send_and_sync::<OwnedWriteHalf>();
    send_and_sync::<ReuniteError>();
    send_and_sync::<ConvertError<TcpStream>>();
    send_and_sync::<ConvertError<TcpListener>>();
}

/// None of them is polled.
#[test]
fn futures_are_send() {
    let (mut stream, _peer) = crate::util::with_std_peer();
    let listener = TcpListener::from_std(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let buf = || Vec::<u8>::with_capacity(9);
    send(lookup_host("localhost:1"));
    send(TcpListener::bind("localhost:0"));
    send(TcpListener::bind_with_backlog(("localhost", 0), 1));
    send(listener.accept());
    send(listener.accept().timeout(Duration::ZERO));
    send(listener.close());
    send(TcpStream::connect("localhost:1"));
    send(stream.read(buf()));
    send(stream.read_append(buf()));
    send(stream.read_exact(buf(), 1));
    send(stream.read_vectored((buf(), buf())));
    send(stream.peek(buf()));
    send(stream.write("x"));
    send(stream.write_all("x"));
    send(stream.write_vectored(("x", "y")));
    send(stream.readable());
    send(stream.writable());
    send(stream.shutdown(Shutdown::Write));
    send(stream.take_dropped_write());
    send(stream.read(buf()).timeout(Duration::ZERO));
    send(stream.write_all("x").cancel_on(&ringtoss::CancellationToken::new()));
    send(stream.read(buf()).cancel());
    let (mut reader, mut writer) = stream.split();
    send(reader.read(buf()));
    send(writer.write_all("x"));
    send(writer.shutdown());
    send(writer.take_dropped_write());
    let (mut reader, mut writer) = stream.into_split();
    send(reader.read_exact(buf(), 1));
    send(reader.readable());
    send(writer.write_vectored(("x", "y")));
    send(writer.shutdown());
    send(reader.reunite(writer).unwrap().close());
}

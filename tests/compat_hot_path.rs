//! What reads and writes through the adapter allocate: nothing, once the loop has warmed up.

use std::io::{IoSlice, SeekFrom};

use counting::allocations;
use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt};
use ringtoss::compat::PollIo;
use ringtoss::fs::File;
use ringtoss::net::{OwnedReadHalf, OwnedWriteHalf, StreamSocket, TcpListener, TcpStream, UnixStream};
use ringtoss::pipe;

mod counting;

/// Questions and answers, each read and written in another way; gives what they allocated after the first hundred rounds.
async fn talk<R, W>(client: (R, W), server: (R, W)) -> u64
where
    R: AsyncBufRead + Unpin + 'static,
    W: AsyncWrite + Unpin + 'static,
{
    let (mut reader, mut writer) = server;
    let server = ringtoss::spawn(async move {
        let mut buf = [0; 64];
        loop {
            let count = reader.read(&mut buf).await.unwrap();
            if count == 0 {
                return;
            }
            let (head, tail) = buf[..count].split_at(count / 2);
            assert_eq!(writer.write_vectored(&[IoSlice::new(head), IoSlice::new(tail)]).await.unwrap(), count);
            writer.flush().await.unwrap();
        }
    });
    let (mut reader, mut writer) = client;
    let mut before = 0;
    for round in 0..2100 {
        if round == 100 {
            before = allocations();
        }
        writer.write_all(b"how much is it?").await.unwrap();
        let mut seen = 0;
        while seen < 15 {
            let bytes = reader.fill_buf().await.unwrap().len();
            reader.consume_unpin(bytes);
            seen += bytes;
        }
    }
    let allocated = allocations() - before;
    drop((reader, writer));
    server.await.unwrap();
    allocated
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

type Ends<R, W> = (PollIo<R>, PollIo<W>);

/// Each direction by itself, and whether what is written is sent at once.
fn halves<S: StreamSocket>(
    one: S,
    other: S,
    split: fn(S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>),
    at_once: bool,
) -> [Ends<OwnedReadHalf<S>, OwnedWriteHalf<S>>; 2] {
    [one, other].map(|stream| {
        let (reader, writer) = split(stream);
        (PollIo::new(reader), if at_once { PollIo::direct(writer) } else { PollIo::new(writer) })
    })
}

#[test]
fn reads_and_writes_allocate_nothing() {
    ringtoss::block_on(async {
        for at_once in [true, false] {
            let (client, server) = tcp().await;
            let [client, server] = halves(client, server, TcpStream::into_split, at_once);
            assert_eq!(talk(client, server).await, 0, "of TCP, {at_once}");
            let (client, server) = UnixStream::pair().unwrap();
            let [client, server] = halves(client, server, UnixStream::into_split, at_once);
            assert_eq!(talk(client, server).await, 0, "of a Unix stream, {at_once}");
        }
        let ((question, asked), (answer, answered)) = (pipe::pipe().unwrap(), pipe::pipe().unwrap());
        assert_eq!(
            talk((PollIo::new(answered), PollIo::new(question)), (PollIo::new(asked), PollIo::new(answer))).await,
            0,
            "of pipes"
        );

        let mut file = PollIo::new(File::from_std(tempfile::tempfile().unwrap()));
        let mut before = 0;
        for round in 0..1100 {
            if round == 100 {
                before = allocations();
            }
            file.seek(SeekFrom::Start(0)).await.unwrap();
            file.write_all(b"what was written").await.unwrap();
            file.seek(SeekFrom::Start(0)).await.unwrap();
            assert_eq!(file.fill_buf().await.unwrap().len(), 16);
            file.consume_unpin(4);
            let mut rest = [0; 12];
            file.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b" was written");
        }
        assert_eq!(allocations() - before, 0, "of a file");
    });
}

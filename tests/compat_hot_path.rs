//! What reads and writes through the adapter allocate: nothing, once the loop has warmed up.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::IoSlice;

use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use ringtoss::compat::PollIo;
use ringtoss::net::{TcpListener, TcpStream};

struct Counting;

thread_local! {
    /// Of this thread only: libtest's own allocates when it likes.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Questions and answers, each read and written in another way; gives what they allocated after the first hundred rounds.
async fn talk(mut client: PollIo<TcpStream>, mut server: PollIo<TcpStream>, rounds: usize) -> u64 {
    let server = ringtoss::spawn(async move {
        let mut buf = [0; 64];
        loop {
            let count = server.read(&mut buf).await.unwrap();
            if count == 0 {
                return;
            }
            let (head, tail) = buf[..count].split_at(count / 2);
            assert_eq!(server.write_vectored(&[IoSlice::new(head), IoSlice::new(tail)]).await.unwrap(), count);
        }
    });
    let mut before = 0;
    for round in 0..rounds {
        if round == 100 {
            before = ALLOCATIONS.get();
        }
        client.write_all(b"how much is it?").await.unwrap();
        let mut seen = 0;
        while seen < 15 {
            let bytes = client.fill_buf().await.unwrap().len();
            client.consume_unpin(bytes);
            seen += bytes;
        }
    }
    let allocated = ALLOCATIONS.get() - before;
    drop(client);
    server.await.unwrap();
    allocated
}

#[test]
fn reads_and_writes_allocate_nothing() {
    ringtoss::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let allocated = talk(PollIo::new(client), PollIo::new(server), 2100).await;
        assert_eq!(allocated, 0, "in 2,000 rounds of two writes and two reads");
    });
}

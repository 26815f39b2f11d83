//! Sending without copying: TCP. For UDP see `udp::zero_copy`.

use super::{OwnedWriteHalf, TcpStream, WriteHalf};
use crate::buf::{IoBuf, IoVecBuf};
use crate::fd::{Fd, HasFd};
use crate::op::{All, Operation, Place, Send, Writev, ZeroCopy};

fn of_half(half: &impl AsRef<TcpStream>) -> &Fd {
    half.as_ref().ring_fd()
}

macro_rules! stream {
    ($fd:expr; $($head:tt)*) => {
        /// Sending without copying.
        ///
        /// The kernel sends from the buffer itself, so the operation ends, and the buffer comes back, when the kernel is done
        /// with it: on a network when the peer has acknowledged, which takes a round trip. So send much at once. What is not
        /// worth it is copied: fewer than 16 KiB; everything on a socket once the kernel has reported that it copies all the
        /// same (loopback; needs Linux 6.2); what the limit of locked memory (`RLIMIT_MEMLOCK`) does not allow.
        ///
        /// A limit that expires while the kernel still has the buffer waits for it. With
        /// [`result_first`](crate::op::Operation::result_first) neither it nor the next send does: the result comes when the
        /// kernel has taken the bytes, and the buffer later. Dropped, the buffer is freed when the
        /// kernel has let go of it, and the next write waits until then; all else is as with
        /// [`write`](TcpStream::write).
        $($head)* {
            /// Sends what the kernel takes at once: `IORING_OP_SEND_ZC`, as `send(2)` with `MSG_NOSIGNAL | MSG_ZEROCOPY`.
            ///
            /// # Errors
            /// As [`TcpStream::write`].
            pub fn send_zc<B: IoBuf>(&mut self, buf: B) -> Operation<'_, ZeroCopy<Send<B>>> {
                let fd = $fd(self);
                Operation::on(fd, ZeroCopy::new(fd, Send::some(fd.raw(), buf)))
            }

            /// Sends all of the buffer, in one submission (`MSG_WAITALL`).
            ///
            /// # Errors
            /// As [`TcpStream::write_all`].
            pub fn send_all_zc<B: IoBuf>(&mut self, buf: B) -> Operation<'_, ZeroCopy<All<Send<B>>>> {
                let fd = $fd(self);
                Operation::on(fd, ZeroCopy::new(fd, Send::all(fd.raw(), buf)))
            }

            /// Sends from several buffers, one after the other, what the kernel takes at once: `IORING_OP_SENDMSG_ZC`.
            ///
            /// # Errors
            /// As [`TcpStream::write_vectored`].
            pub fn send_vectored_zc<V: IoVecBuf>(&mut self, bufs: V) -> Operation<'_, ZeroCopy<Writev<V>>> {
                let fd = $fd(self);
                Operation::on(fd, ZeroCopy::new(fd, Writev::new(fd.raw(), bufs, Place::Stream)))
            }
        }
    };
}

stream!(TcpStream::ring_fd; impl TcpStream);
stream!(of_half; impl WriteHalf<'_, TcpStream>);
stream!(of_half; impl OwnedWriteHalf<TcpStream>);

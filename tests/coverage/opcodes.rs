//! The opcodes of `include/uapi/linux/io_uring.h` as of Linux 6.19, in its order.

#[derive(PartialEq)]
pub enum Reached {
    /// By these public items (what has blanks in it is told, not looked for).
    By(&'static str),
    /// By nothing, and why.
    Not(&'static str),
    /// By nothing yet. The kernel gets new ones.
    #[allow(dead_code, reason = "none is missing now")]
    Missing,
}

pub struct Opcode {
    pub name: &'static str,
    /// The release that brought it.
    pub since: &'static str,
    /// What the `io-uring` crate, or a constant of ours, calls it.
    pub names: &'static [&'static str],
    pub reached: Reached,
}

const fn opcode(name: &'static str, since: &'static str, names: &'static [&'static str], reached: Reached) -> Opcode {
    Opcode { name, since, names, reached }
}

use Reached::{By, Not};

pub const OPCODES: &[Opcode] = &[
    opcode("NOP", "5.1", &["Nop"], By("op::nop")),
    opcode("READV", "5.1", &["Readv"], By("fs::File::read_vectored_at, net::TcpStream::read_vectored")),
    opcode("WRITEV", "5.1", &["Writev"], By("fs::File::write_vectored_at, net::TcpStream::write_vectored")),
    opcode("FSYNC", "5.1", &["Fsync"], By("fs::File::sync_all, fs::File::sync_data")),
    opcode("READ_FIXED", "5.1", &["ReadFixed"], By("buf::RegisteredPool")),
    opcode("WRITE_FIXED", "5.1", &["WriteFixed"], By("buf::RegisteredPool")),
    opcode("POLL_ADD", "5.1", &["PollAdd"], By("io::AsyncFd, op::poll_readable, op::poll_writable")),
    opcode("POLL_REMOVE", "5.1", &["PollRemove"], Not("`ASYNC_CANCEL` ends a poll as it ends everything")),
    opcode("SYNC_FILE_RANGE", "5.2", &["SyncFileRange"], By("fs::File::sync_range")),
    opcode(
        "SENDMSG",
        "5.3",
        &["SendMsg"],
        By("net::UdpSocket::send_msg, net::UdpSocket::send_to, net::UnixStream::send_fds"),
    ),
    opcode(
        "RECVMSG",
        "5.3",
        &["RecvMsg"],
        By("net::UdpSocket::recv_msg, net::UdpSocket::recv_from, net::UnixStream::recv_fds"),
    ),
    opcode(
        "TIMEOUT",
        "5.4",
        &["Timeout"],
        By("compat::Guest, for its next timer (the deadlines of other loops ride on the enter call, which costs less)"),
    ),
    opcode("TIMEOUT_REMOVE", "5.5", &["TimeoutRemove", "TimeoutUpdate"], By("compat::Guest, for an earlier one")),
    opcode("ACCEPT", "5.5", &["Accept", "AcceptMulti"], By("net::TcpListener::accept, net::TcpListener::incoming")),
    opcode(
        "ASYNC_CANCEL",
        "5.5",
        &["AsyncCancel"],
        By("op::Operation::cancel, and every drop of an operation in flight"),
    ),
    opcode(
        "LINK_TIMEOUT",
        "5.5",
        &["LinkTimeout"],
        By(
            "op::Operation::link_timeout, for links of chains (`Operation::timeout` costs no entry: the loop's timers cancel)",
        ),
    ),
    opcode("CONNECT", "5.5", &["Connect"], By("net::TcpStream::connect, net::UnixStream::connect")),
    opcode("FALLOCATE", "5.6", &["Fallocate"], By("fs::File::allocate")),
    opcode("OPENAT", "5.6", &["OpenAt"], By("fs::File::open, fs::OpenOptions::open")),
    opcode("CLOSE", "5.6", &["Close"], By("fs::File::close, and every drop of an object")),
    opcode("FILES_UPDATE", "5.6", &["FilesUpdate"], By("fs::File::register, net::TcpStream::register")),
    opcode("STATX", "5.6", &["Statx"], By("fs::metadata, fs::File::metadata")),
    opcode("READ", "5.6", &["Read"], By("fs::File::read, fs::File::read_at")),
    opcode("WRITE", "5.6", &["Write"], By("fs::File::write, fs::File::write_at")),
    opcode("FADVISE", "5.6", &["Fadvise"], By("fs::File::advise")),
    opcode("MADVISE", "5.6", &["Madvise"], By("op::madvise")),
    opcode("SEND", "5.6", &["Send"], By("net::TcpStream::write, net::UdpSocket::send")),
    opcode(
        "RECV",
        "5.6",
        &["Recv", "RecvMulti"],
        By("net::TcpStream::read, net::TcpStream::recv, net::TcpStream::recv_stream"),
    ),
    opcode("OPENAT2", "5.6", &["OpenAt2"], By("fs::OpenOptions::resolve, fs::Dir")),
    opcode("EPOLL_CTL", "5.6", &["EpollCtl"], Not("deprecated by the kernel; epoll is what the ring stands in for")),
    opcode("SPLICE", "5.7", &["Splice"], By("io::splice, io::splice_bidirectional")),
    opcode("PROVIDE_BUFFERS", "5.7", &["ProvideBuffers"], Not("superseded by the buffer rings that leases come from")),
    opcode("REMOVE_BUFFERS", "5.7", &["RemoveBuffers"], Not("as `PROVIDE_BUFFERS`")),
    opcode("TEE", "5.8", &["Tee"], By("io::tee")),
    opcode(
        "SHUTDOWN",
        "5.11",
        &["Shutdown"],
        Not(
            "the kernel does it in a worker thread, which looks the number up late and could meet a stranger's socket; `shutdown(2)` does not block",
        ),
    ),
    opcode("RENAMEAT", "5.11", &["RenameAt"], By("fs::rename, fs::exchange, fs::rename_noreplace")),
    opcode("UNLINKAT", "5.11", &["UnlinkAt"], By("fs::remove_file, fs::remove_dir")),
    opcode("MKDIRAT", "5.15", &["MkDirAt"], By("fs::create_dir")),
    opcode("SYMLINKAT", "5.15", &["SymlinkAt"], By("fs::symlink")),
    opcode("LINKAT", "5.15", &["LinkAt"], By("fs::hard_link")),
    opcode(
        "MSG_RING",
        "5.18",
        &["MsgRingData", "MsgRingSendFd"],
        Not(
            "loops wake each other by their eventfds, which cost the same and post one completion for many wake-ups; what is handed over goes by their inboxes",
        ),
    ),
    opcode("FSETXATTR", "5.19", &["FSetXattr"], By("fs::File::set_xattr")),
    opcode("SETXATTR", "5.19", &["SetXattr"], By("fs::set_xattr")),
    opcode("FGETXATTR", "5.19", &["FGetXattr"], By("fs::File::get_xattr")),
    opcode("GETXATTR", "5.19", &["GetXattr"], By("fs::get_xattr")),
    opcode("SOCKET", "5.19", &["Socket"], By("net::TcpStream::connect")),
    opcode(
        "URING_CMD",
        "5.19",
        &["UringCmd16", "UringCmd80", "SetSockOpt"],
        Not(
            "options of sockets are set by `setsockopt(2)`, which waits for nothing; the commands of drivers are theirs to wrap",
        ),
    ),
    opcode("SEND_ZC", "6.0", &["SendZc"], By("net::TcpStream::send_zc, net::UdpSocket::send_zc")),
    opcode("SENDMSG_ZC", "6.1", &["SendMsgZc"], By("net::TcpStream::send_vectored_zc, net::UdpSocket::send_msg_zc")),
    opcode("READ_MULTISHOT", "6.7", &["ReadMulti"], By("pipe::Receiver::read_stream")),
    opcode("WAITID", "6.7", &["WaitId"], By("process::Child::wait")),
    opcode("FUTEX_WAIT", "6.7", &["FutexWait"], By("futex::wait")),
    opcode("FUTEX_WAKE", "6.7", &["FutexWake"], By("futex::wake")),
    opcode("FUTEX_WAITV", "6.7", &["FutexWaitV"], By("futex::wait_any")),
    opcode(
        "FIXED_FD_INSTALL",
        "6.8",
        &["FixedFdInstall"],
        Not("an object that has a place in the table keeps its number, so that none has to be made"),
    ),
    opcode("FTRUNCATE", "6.9", &["Ftruncate"], By("fs::File::set_len")),
    opcode(
        "BIND",
        "6.11",
        &["Bind"],
        Not("the direct calls take less time than a submission each, and do not wait: see `net`"),
    ),
    opcode(
        "LISTEN",
        "6.11",
        &["Listen"],
        Not("the direct calls take less time than a submission each, and do not wait: see `net`"),
    ),
    opcode("RECV_ZC", "6.15", &["RecvZc"], By("net::zcrx::Receiver")),
    opcode(
        "EPOLL_WAIT",
        "6.15",
        &["EpollWait"],
        Not("an epoll descriptor of another library's is awaited by `io::AsyncFd`, and asked by its owner"),
    ),
    opcode("READV_FIXED", "6.15", &["ReadvFixed"], By("buf::RegisteredPool")),
    opcode("WRITEV_FIXED", "6.15", &["WritevFixed"], By("buf::RegisteredPool")),
    opcode(
        "PIPE",
        "6.16",
        &["Pipe"],
        Not(
            "`pipe2(2)` waits for nothing; with its two closes a pipe took 4.5 µs by the call, 4.9 by the entry and 4.2 by one of 32 entries (`pipe::pipe`)",
        ),
    ),
    opcode("NOP128", "6.19", &["NOP128"], Not("entries are 64 bytes here")),
    opcode("URING_CMD128", "6.19", &["URING_CMD128"], Not("entries are 64 bytes here")),
];

//! The examples, run for real.

mod cp;
mod cp_r;
mod echo;
mod get;
mod guest_epoll;
mod juggle;
mod many_loops;
mod supervisor;
mod tail;
mod tcp_proxy;
mod udp_echo;
mod util;

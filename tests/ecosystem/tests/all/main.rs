//! Real software over ringtoss, unchanged. What is not installed is left out, and said so.

mod actors;
mod archive;
mod axum;
mod cache;
mod channels;
mod grpc;
mod guide;
mod http;
mod http_client;
mod openraft;
mod postgres;
mod quic;
mod redis;
mod tls;
mod tokios;
mod websocket;

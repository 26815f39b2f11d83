//! Real software over ringtoss, unchanged. What is not installed is left out, and said so.

mod axum;
mod http;
mod postgres;
mod redis;
mod tls;
mod websocket;

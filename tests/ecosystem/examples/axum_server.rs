//! An axum server without tokio's runtime: `cargo run -p ringtoss-ecosystem --example axum_server -- 127.0.0.1:8080`.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ringtoss::compat::PollIo;
use ringtoss::compat::hyper::{Executor, Timer};
use ringtoss::net::TcpListener;
use ringtoss::time::sleep;

/// What `axum::serve(…).with_graceful_shutdown(…)` does: answers until `shutdown` is ready, then what has begun.
pub async fn serve(listener: TcpListener, app: Router, shutdown: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let Ok((stream, _)) = accepted else {
            // No descriptors are left, say.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let mut server = auto::Builder::new(Executor);
        server.http1().timer(Timer).header_read_timeout(Duration::from_secs(30));
        server.http2().timer(Timer);
        let service = TowerToHyperService::new(app.clone());
        let connection = server.serve_connection_with_upgrades(PollIo::new(stream), service).into_owned();
        ringtoss::spawn(connections.watch(connection));
    }
    drop(listener);
    connections.shutdown().await;
}

async fn visit(State(visits): State<Arc<AtomicU64>>) -> String {
    (visits.fetch_add(1, Ordering::Relaxed) + 1).to_string()
}

/// A body that is made while it is sent.
async fn count(Path(to): Path<u64>) -> Body {
    Body::from_stream(futures::stream::iter(0..to).then(|number| async move {
        sleep(Duration::from_millis(1)).await;
        Ok::<_, io::Error>(format!("{number}\n"))
    }))
}

pub fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/visits", get(visit))
        .route("/sum", post(|Json(numbers): Json<Vec<i64>>| async move { Json(numbers.iter().sum::<i64>()) }))
        .route("/count/{to}", get(count))
        .with_state(Arc::new(AtomicU64::new(0)))
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_string());
    ringtoss::block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("http://{}", listener.local_addr()?);
        serve(listener, app(), std::future::pending()).await;
        Ok(())
    })
}

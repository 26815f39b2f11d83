//! A web server and a database, both real.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringtoss_ecosystem::{Server, free_address, program};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};

/// Python's server of the files in a folder, if Python is installed.
pub fn web_server(folder: &Path) -> Option<(Server, SocketAddr)> {
    let python = program("python3")?;
    let address = free_address();
    let mut command = Command::new(python);
    command.args(["-m", "http.server", "--bind", "127.0.0.1", &address.port().to_string(), "--directory"]).arg(folder);
    Some((Server::start(command.stdout(Stdio::null()).stderr(Stdio::null())), address))
}

/// The body at this address, from a server that may be starting.
pub async fn body(client: &reqwest::Client, url: &str) -> Vec<u8> {
    for _ in 0..300 {
        match client.get(url).send().await {
            Ok(response) => return response.error_for_status().unwrap().bytes().await.unwrap().to_vec(),
            Err(error) => assert!(error.is_connect(), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{url} does not answer");
}

/// A pool of connections to a server that may be starting.
pub async fn database(address: SocketAddr) -> PgPool {
    let options = PgConnectOptions::new().host("127.0.0.1").port(address.port());
    let options = options.username("postgres").database("postgres").ssl_mode(PgSslMode::Disable);
    for _ in 0..300 {
        match PgPoolOptions::new().max_connections(4).connect_with(options.clone()).await {
            Ok(pool) => return pool,
            // It is starting: nobody listens, or it says so.
            Err(sqlx::Error::Io(_) | sqlx::Error::Database(_)) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the database does not answer");
}

/// Bytes that tell where they belong.
pub fn bytes(count: usize, seed: usize) -> Vec<u8> {
    (0..count).map(|index| (index.wrapping_mul(31).wrapping_add(seed) >> 3) as u8).collect()
}

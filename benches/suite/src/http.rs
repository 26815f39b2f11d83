//! As much of HTTP/1.1 as a fixed answer to requests without bodies takes.

/// What every server answers.
pub const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nServer: bench\r\n\r\nHello, world!";

/// What the generator asks; wrk's own requests are about as long.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: ringtoss-bench\r\nAccept: */*\r\n\r\n";

/// The servers' buffers.
pub const BUFFER_BYTES: usize = 4096;

/// What comes before so many bytes of a file.
pub fn head(bytes: usize) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\nServer: bench\r\n\r\n"
    )
    .into_bytes()
}

/// Whether a connection begins with a request, and not with something to be sent back.
pub fn is_request(bytes: &[u8]) -> bool {
    bytes.first() == REQUEST.first()
}

/// Counts requests by the empty line that ends each, wherever the reads cut them.
#[derive(Default)]
pub struct Requests {
    /// How much of "\r\n\r\n" the bytes before ended with.
    matched: usize,
}

impl Requests {
    pub fn count(&mut self, bytes: &[u8]) -> usize {
        let mut ended = 0;
        for &byte in bytes {
            self.matched = match (byte, self.matched) {
                (b'\r', 2) => 3,
                (b'\r', _) => 1,
                (b'\n', 1) => 2,
                (b'\n', 3) => {
                    ended += 1;
                    0
                }
                _ => 0,
            };
        }
        ended
    }
}

/// Makes it so many answers.
pub fn repeat(answer: &mut Vec<u8>, times: usize) {
    let len = RESPONSE.len() * times;
    answer.truncate(len);
    while answer.len() < len {
        answer.extend_from_slice(RESPONSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_wherever_they_are_cut() {
        let three = REQUEST.repeat(3);
        for cut in 0..three.len() {
            let mut requests = Requests::default();
            assert_eq!(requests.count(&three[..cut]) + requests.count(&three[cut..]), 3, "cut at {cut}");
        }
    }

    #[test]
    fn answers_are_repeated() {
        let mut answer = RESPONSE.to_vec();
        for times in [3, 1, 2] {
            repeat(&mut answer, times);
            assert_eq!(answer, RESPONSE.repeat(times));
        }
    }
}

//! A proxy that breaks connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a proxy saw and did.
#[derive(Default)]
pub(crate) struct Traffic {
    /// Heads of requests.
    pub(crate) requests: Vec<String>,
    pub(crate) bytes_to_client: usize,
}

/// Passes connections on to `target` and breaks each after `cut_after` bytes towards the client.
pub(crate) fn proxy(target: &str, cut_after: usize) -> (String, Arc<Mutex<Traffic>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let traffic = Arc::new(Mutex::new(Traffic::default()));
    let (target, shared) = (target.to_owned(), Arc::clone(&traffic));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&target).unwrap());
            let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
            let (from_client, to_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass_requests(from_client, to_server, &up));
            std::thread::spawn(move || pass_answers(server, client, &down, cut_after));
        }
    });
    (address, traffic)
}

fn pass_requests(mut client: TcpStream, mut server: TcpStream, traffic: &Mutex<Traffic>) {
    let mut buffer = [0; 16 << 10];
    let mut text = String::new();
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        text += &String::from_utf8_lossy(&buffer[..count]);
        while let Some((head, rest)) = text.split_once("\r\n\r\n") {
            traffic.lock().unwrap().requests.push(head.to_lowercase());
            text = rest.to_owned();
        }
        if server.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn pass_answers(
    mut server: TcpStream,
    mut client: TcpStream,
    traffic: &Mutex<Traffic>,
    cut_after: usize,
) {
    let mut buffer = [0; 16 << 10];
    let mut left = cut_after;
    while left > 0 {
        let most = buffer.len().min(left);
        let Ok(count @ 1..) = server.read(&mut buffer[..most]) else {
            break;
        };
        left -= count;
        traffic.lock().unwrap().bytes_to_client += count;
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

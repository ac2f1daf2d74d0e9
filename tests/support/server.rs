//! Programs that run beside a test, and a web server.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program that is ended with the test, whatever the test's end.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only for a program that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves `directory` by HTTP; returns the address that QEMU's guests see it at.
pub fn serve_files(directory: &Path) -> (Running, String) {
    let mut server = Command::new("python3")
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d"])
        .arg(directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starting a web server");
    let mut greeting = String::new();
    BufReader::new(server.stdout.take().expect("it is a pipe"))
        .read_line(&mut greeting)
        .expect("reading the web server's port");
    let server = Running(server);
    let port: u16 = greeting
        .split_once(" port ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no port in {greeting:?}"));
    (server, format!("http://10.0.2.2:{port}"))
}

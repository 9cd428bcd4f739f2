//! A worker's end of the conversation with the parent: the Unix socket that is its stdin.

use crate::args::Role;
use crate::progress::say;
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// See the module.
#[derive(Debug)]
pub struct Parent {
    pub role: Role,
    stream: UnixStream,
    is_at_end: bool,
}

impl Parent {
    pub fn on_stdin(role: Role) -> io::Result<Self> {
        Ok(Self::over(io::stdin().as_fd().try_clone_to_owned()?.into(), role))
    }

    pub fn over(stream: UnixStream, role: Role) -> Self {
        Self { role, stream, is_at_end: false }
    }

    /// Tells it where this worker has joined; from then on it may come to an end.
    pub fn joined(&mut self, what: &Value) -> io::Result<()> {
        self.is_at_end = self.tell(what).is_err();
        self.stream.set_nonblocking(true)
    }

    /// Whether the parent is gone, or nothing more will come. It never says anything: its socket has an
    /// end, or nothing.
    pub fn is_at_end(&mut self) -> bool {
        self.is_at_end = self.is_at_end
            || match self.stream.read(&mut [0]) {
                Ok(len) => len == 0,
                Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            };
        self.is_at_end
    }

    /// Tells it how things are, if it is still there.
    pub fn tell_meanwhile(&mut self, what: &Value) {
        let told = self.stream.set_nonblocking(false).and_then(|()| self.tell(what));
        self.is_at_end = told.and_then(|()| self.stream.set_nonblocking(true)).is_err() || self.is_at_end;
    }

    /// Tells it the result, or, if it is gone, the user what was `done`.
    pub fn finish(mut self, result: &Value, done: &str) {
        if self.stream.set_nonblocking(false).and_then(|()| self.tell(result)).is_err() {
            let (role, pid) = (self.role, std::process::id());
            say(&format!("market: {role} (pid {pid}) {done}; the parent is gone"));
        }
    }

    fn tell(&mut self, what: &Value) -> io::Result<()> {
        self.stream.write_all(format!("{what}\n").as_bytes())
    }
}

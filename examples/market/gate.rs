//! Waiting for others.

use std::convert::Infallible;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};

/// Opens when all its keepers are gone.
#[derive(Debug)]
pub struct Gate(Receiver<Infallible>);

/// Keeps a gate shut as long as it lives.
#[derive(Clone, Debug)]
pub struct Keeper {
    _open_on_drop: Sender<Infallible>,
}

/// A gate, shut.
pub fn gate() -> (Keeper, Gate) {
    let (sender, receiver) = mpsc::channel();
    (Keeper { _open_on_drop: sender }, Gate(receiver))
}

impl Gate {
    pub fn wait(&self) {
        let Err(mpsc::RecvError) = self.0.recv();
    }

    pub fn is_open(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_gate_opens_when_all_keepers_are_gone() {
        let (keeper, gate) = gate();
        let other = keeper.clone();
        let waiting = thread::spawn(move || {
            gate.wait();
            gate.is_open()
        });
        drop(keeper);
        assert!(!waiting.is_finished());
        drop(other);
        assert!(waiting.join().unwrap());
    }
}

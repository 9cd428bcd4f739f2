//! The hub and its clients.

use crate::error::PassError;
use std::io;
use std::path::PathBuf;

/// Why a hub could not be made or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The hub's policy refuses this client, or the region can't be given so.
    #[error("the hub refuses {name:?}: {reason}")]
    Refused {
        /// What was asked for.
        name: String,
        /// The hub's words.
        reason: String,
    },
    /// The hub has nothing of this name.
    #[error("the hub has nothing named {name:?}: look at what its owner adds to it, or ask again later")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The hub has as many clients as it takes.
    #[error("the hub has as many clients as it takes: try again later, or raise HubBuilder::max_clients there")]
    Full,
    /// The hub can't serve anybody at the moment.
    #[error("the hub can't at the moment: {reason}; ask again")]
    Unavailable {
        /// The hub's words.
        reason: String,
    },
    /// The hub speaks another version of the protocol.
    #[error("the hub speaks protocol version {theirs}, this process {ours}: use the same version of shmlog")]
    Version {
        /// The hub's version.
        theirs: u32,
        /// This process's.
        ours: u32,
    },
    /// The hub is gone, or has closed the connection.
    #[error("the connection to the hub is closed: connect again (HubClient::connect_within waits for a restart)")]
    Gone,
    /// The hub did not answer. The connection was closed, as its answer may come yet.
    #[error("the hub did not answer within {waited_ms} ms: connect again, or allow it more (HubClient::set_patience)")]
    Timeout {
        /// Milliseconds waited.
        waited_ms: u128,
    },
    /// What answers is no hub of this crate.
    #[error("what answers does not speak the hub's protocol: {what}")]
    Foreign {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Nobody listens there.
    #[error("no hub listens at {path}: start it, or wait for it with HubClient::connect_within")]
    NoHub {
        /// Where.
        path: PathBuf,
    },
    /// The socket's mode, or that of a directory above it, does not admit this user.
    #[error("this user may not connect to {path}: the mode given to HubBuilder::listen decides, and the directory's")]
    Denied {
        /// Where.
        path: PathBuf,
    },
    /// The directory that the socket is to be in does not exist.
    #[error("there is no directory for {path}: make it, so that those who may connect can enter it")]
    NoDirectory {
        /// Where the hub was to listen.
        path: PathBuf,
    },
    /// Something is there that is not the socket of a dead hub.
    #[error("{path} is in use: a hub listens there, or it is no socket; choose another path or remove it")]
    InUse {
        /// Where the hub was to listen.
        path: PathBuf,
    },
    /// A name that can't be one.
    #[error("{name:?} can't be a name: 1 to 64 bytes, without control characters")]
    BadName {
        /// The name.
        name: String,
    },
    /// Two regions of one name.
    #[error("the hub has something named {name:?} already: remove that first, or choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The region was not received, can't be used, or none was inherited.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The hub's thread ended before it was told to.
    #[error("the hub had stopped: its policy panicked; make a new one")]
    Stopped,
    /// The system refused.
    #[error("{doing}: {error}")]
    Os {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl HubError {
    pub(crate) fn os(doing: &'static str, error: impl Into<io::Error>) -> Self {
        Self::Os { doing, error: error.into() }
    }
}

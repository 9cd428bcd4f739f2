//! Causes that the text of an error says: made into it by `?`, and found in it by matching, but not by `source()`, which
//! would have them said twice.

use crate::error::{AppendError, AttachError, CreateError, JoinError, JournalError, LoadError};
use crate::layout::geometry::BadGeometry;

macro_rules! said {
    ($($cause:ident in $error:ident::$variant:ident),* $(,)?) => {
        $(impl From<$cause> for $error {
            fn from(error: $cause) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

said! {
    BadGeometry in CreateError::Geometry,
    BadGeometry in AttachError::Damaged,
    JoinError in LoadError::NoSeat,
    AppendError in JournalError::Append,
    JoinError in JournalError::Join,
    AttachError in JournalError::Attach,
    CreateError in JournalError::Create,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{CommitError, HubError, PassError, PublishError, ReplicaError};
    use std::error::Error;
    use std::io;

    const DOING: &str = "doing it";

    fn cause() -> io::Error {
        io::Error::from_raw_os_error(13)
    }

    fn geometry() -> BadGeometry {
        BadGeometry { field: "windows", value: 1, allowed: "2 to 65,536" }
    }

    /// Of each public type of errors, those that carry another error.
    fn samples() -> Vec<Box<dyn Error>> {
        let attach = || AttachError::os(DOING, cause());
        let join = || JoinError::os(DOING, cause());
        let file = || String::from("lock");
        let mut all: Vec<Box<dyn Error>> = vec![
            Box::new(attach()),
            Box::new(AttachError::NoBarrier { error: cause() }),
            Box::new(AttachError::from(geometry())),
            Box::new(CreateError::os(DOING, cause())),
            Box::new(CreateError::from(attach())),
            Box::new(CreateError::from(geometry())),
            Box::new(CommitError { error: AppendError::Closed, bytes: Vec::new() }),
            Box::new(join()),
            Box::new(JoinError::from(attach())),
            Box::new(PassError::os(DOING, cause())),
            Box::new(PassError::from(attach())),
            Box::new(HubError::os(DOING, cause())),
            Box::new(HubError::from(PassError::from(attach()))),
            Box::new(PublishError::Os { doing: DOING, error: cause() }),
            Box::new(LoadError::from(JoinError::from(attach()))),
            Box::new(ReplicaError::from(join())),
            Box::new(ReplicaError::from(LoadError::from(join()))),
            Box::new(ReplicaError::from(PublishError::Os { doing: DOING, error: cause() })),
        ];
        let journal = [
            JournalError::from(AppendError::Closed),
            JournalError::from(crate::error::ReadError::Closed),
            JournalError::from(join()),
            JournalError::from(attach()),
            JournalError::from(CreateError::from(attach())),
            JournalError::Failed { dir: file().into(), what: DOING, error: cause() },
            JournalError::Denied { doing: DOING, file: file(), error: cause() },
            JournalError::ReadOnlyMount { doing: DOING, file: file(), error: cause() },
            JournalError::Unsupported { doing: DOING, file: file(), error: cause() },
            JournalError::FileLimit { doing: DOING, file: file(), error: cause() },
            JournalError::Os { doing: DOING, file: file(), error: cause() },
            JournalError::ConfigFile { path: file().into(), error: Box::new(JournalError::from(join())) },
        ];
        all.extend(journal.map(|error| Box::new(error) as Box<dyn Error>));
        all
    }

    /// `anyhow` and others print an error and all of its sources in a row.
    #[test]
    fn no_cause_is_said_twice_nor_left_out() {
        for error in samples() {
            let mut said = error.to_string();
            let mut below = error.source();
            while let Some(error) = below {
                let text = error.to_string();
                assert!(!said.contains(&text), "{said:?}, and then {text:?}");
                said = format!("{said}: {text}");
                below = error.source();
            }
            let debug = format!("{error:?}");
            assert!(!debug.contains("code: 13") || said.contains("(os error 13)"), "{debug} is said as {said:?}");
        }
    }

    /// What `thiserror` returns from `source()` besides what a transparent error returns.
    #[test]
    fn new_errors_are_no_exception() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/error");
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() || path.ends_with("said.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let mut above = "";
            for line in text.lines() {
                let is_source = ["#[from]", "#[source]", " source: "].iter().any(|mark| line.contains(mark));
                assert!(!is_source || above.contains("#[error(transparent)]"), "{}: {line}", path.display());
                above = line;
            }
        }
    }
}

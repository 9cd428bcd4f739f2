//! The parent's hub: it starts the workers and gives each what its role needs, for no more than that.

use crate::args::Role;
use crate::regions::Regions;
use anyhow::Result;
use shmlog::hub::{Peer, Verdict};
use shmlog::{Access, Hub, RunningHub};
use std::collections::HashMap;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The names that workers ask by.
pub const FEED: &str = "feed";
pub const TOPS: &str = "tops";
pub const BOOKS: &str = "books";

/// Who the workers are, by process id.
type Roles = Mutex<HashMap<u32, Role>>;

/// See the module.
#[derive(Debug)]
pub struct Desk {
    hub: RunningHub,
    roles: Arc<Roles>,
}

impl Desk {
    /// Starts the hub.
    pub fn open(regions: &Regions, owner: Role) -> Result<Self> {
        let roles = Arc::new(Roles::default());
        let known = Arc::clone(&roles);
        let hub = Hub::builder()
            .log(FEED, &regions.log)
            .snapshot(TOPS, &regions.tops)
            .snapshot(BOOKS, &regions.books)
            .policy(move |peer, request| judge(role_of(&known, peer), owner, &request.name, request.access))
            .build()?
            .start()?;
        Ok(Self { hub, roles })
    }

    /// Starts a worker.
    pub fn spawn(&self, role: Role, command: &mut Command) -> Result<Child> {
        // The policy waits meanwhile: the worker may ask before its process id is known here.
        let mut roles = locked(&self.roles);
        let child = self.hub.spawn(command)?;
        roles.insert(child.id(), role);
        Ok(child)
    }
}

fn role_of(roles: &Roles, peer: &Peer) -> Option<Role> {
    locked(roles).get(&peer.pid).copied().filter(|_| peer.is_inherited)
}

fn locked(roles: &Roles) -> MutexGuard<'_, HashMap<u32, Role>> {
    roles.lock().unwrap_or_else(PoisonError::into_inner)
}

fn judge(role: Option<Role>, owner: Role, name: &str, access: Access) -> Verdict {
    let Some(role) = role else { return Verdict::Refuse("only workers of the parent get anything".to_owned()) };
    match allowed(role, owner, name) {
        Some(allowed) if access == allowed => Verdict::Grant(allowed),
        Some(allowed) => Verdict::Refuse(format!("{role} gets {name} for {allowed:?}, not for {access:?}")),
        None => Verdict::Refuse(format!("{role} has no use for {name}")),
    }
}

/// The least that a role needs to do its work.
fn allowed(role: Role, owner: Role, name: &str) -> Option<Access> {
    match (name, role) {
        (FEED, Role::Book(_) | Role::Tally | Role::Late | Role::Recorder)
        | (BOOKS, Role::Late)
        | (TOPS, Role::Watch) => Some(Access::Read),
        (TOPS | BOOKS, _) if role == owner => Some(Access::Own),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_gets_what_it_needs_and_nothing_else() {
        let owner = Role::Book(1);
        let needs = |role| [FEED, TOPS, BOOKS, "log"].map(|name| allowed(role, owner, name));
        let (read, own) = (Some(Access::Read), Some(Access::Own));
        assert_eq!(needs(Role::Book(0)), [read, None, None, None]);
        assert_eq!(needs(owner), [read, own, own, None]);
        assert_eq!(needs(Role::Tally), [read, None, None, None]);
        assert_eq!(needs(Role::Late), [read, None, read, None]);
        assert_eq!(needs(Role::Watch), [None, read, None, None]);
        assert_eq!(needs(Role::Recorder), [read, None, None, None]);
    }

    #[test]
    fn who_asks_for_something_else_is_told_why_not() {
        let owner = Role::Book(1);
        assert_eq!(judge(Some(owner), owner, TOPS, Access::Own), Verdict::Grant(Access::Own));
        for (role, name, access, said) in [
            (Some(Role::Late), BOOKS, Access::Own, "late gets books for Read, not for Own"),
            (Some(Role::Book(0)), TOPS, Access::Own, "book-0 has no use for tops"),
            (Some(Role::Watch), FEED, Access::Read, "watch has no use for feed"),
            (None, FEED, Access::Read, "only workers of the parent get anything"),
        ] {
            assert_eq!(judge(role, owner, name, access), Verdict::Refuse(said.to_owned()));
        }
    }
}

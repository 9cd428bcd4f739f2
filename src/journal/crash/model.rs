//! What a disk holds for sure, and what it may hold, after some recorded entries.
//!
//! - What a completed sync of a file covers is there; what a completed sync of the directory covers has its name.
//! - Of a file's later changes each unit (a block, a sector, a word) is as it was at any moment since: so writes may be
//!   there or not, in any order, torn anywhere. Its length is as at any moment since, whatever the units say.
//! - Of the later changes of names any subset is there that makes sense in order: a file must be there to be renamed.
//!
//! A rename is there or not, never half: the file systems that a journal is for log it as one change. Bytes of others
//! never show up in a file, nor a sector of zeroes that nobody wrote, for the same reason.

use super::images::Dice;
use super::memory_disk::{Content, Image, put, zero};
use super::recording::{Entry, InodeId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes that the kernel writes, or fails to write, as one.
const PAGE: usize = 4096;

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What it held at every moment since the last sync; the first one is durable.
    pub(super) history: Vec<Content>,
}

impl Inode {
    fn of(content: Content) -> Self {
        Self { history: vec![content] }
    }

    pub(super) fn newest(&self) -> &Content {
        &self.history[self.history.len() - 1]
    }

    fn change(&mut self, how: impl FnOnce(&mut Vec<u8>)) {
        let mut content = (**self.newest()).clone();
        how(&mut content);
        if content != **self.newest() {
            self.history.push(Arc::new(content));
        }
    }

    fn sync(&mut self) {
        self.history = vec![self.newest().clone()];
    }

    /// What a failed sync can do: each page is on the disk as it was at some moment, and taken for clean from now on. The
    /// worst, 0, is that none is there.
    fn lose(&mut self, some: u64) {
        if some != 0 {
            let mut dice = Dice::new(some);
            let mut mixed = (*self.history[0]).clone();
            let len = self.history[dice.below(self.history.len())].len();
            mixed.resize(len, 0);
            for (index, page) in mixed.chunks_mut(PAGE).enumerate() {
                let content = &self.history[dice.below(self.history.len())];
                let from = content.get(index * PAGE..).unwrap_or(&[]);
                let some = from.len().min(page.len());
                page[..some].copy_from_slice(&from[..some]);
                page[some..].fill(0);
            }
            self.history[0] = Arc::new(mixed);
        }
        self.history.truncate(1);
    }
}

/// Names of files.
pub(super) type NameMap = BTreeMap<String, InodeId>;

/// A change of names that may not be there.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create(String, InodeId),
    Rename(String, String, InodeId),
    Remove(String, InodeId),
}

impl NameChange {
    /// Makes the change, if it makes sense.
    pub(super) fn apply(&self, names: &mut NameMap) {
        match self {
            Self::Create(name, inode) => {
                names.entry(name.clone()).or_insert(*inode);
            }
            Self::Rename(from, to, inode) => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                    names.insert(to.clone(), *inode);
                }
            }
            Self::Remove(name, inode) => {
                if names.get(name) == Some(inode) {
                    names.remove(name);
                }
            }
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) inodes: Vec<Inode>,
    /// Names that are durable.
    pub(super) names: NameMap,
    /// Names as the running system sees them.
    current: NameMap,
    pub(super) changes: Vec<NameChange>,
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl Model {
    /// A disk that holds `image` for sure. Its files are numbered as a `Recorder` numbers them.
    pub(super) fn of(image: &Image) -> Self {
        let names: NameMap = image.0.keys().enumerate().map(|(inode, name)| (name.clone(), inode)).collect();
        let inodes = image.0.values().map(|content| Inode::of(content.clone())).collect();
        Self { inodes, current: names.clone(), names, changes: Vec::new() }
    }

    /// Goes on by one entry.
    pub(super) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Create(name, inode) => {
                assert_eq!(*inode, self.inodes.len(), "files are numbered as they are made");
                self.inodes.push(Inode::of(Content::default()));
                self.current.insert(name.clone(), *inode);
                self.changes.push(NameChange::Create(name.clone(), *inode));
            }
            Entry::Rename(from, to) => {
                let inode = self.current.remove(from).expect("what is renamed is there");
                self.current.insert(to.clone(), inode);
                self.changes.push(NameChange::Rename(from.clone(), to.clone(), inode));
            }
            Entry::Remove(name) => {
                let inode = self.current.remove(name).expect("what is removed is there");
                self.changes.push(NameChange::Remove(name.clone(), inode));
            }
            Entry::SyncNames => {
                self.names.clone_from(&self.current);
                self.changes.clear();
            }
            Entry::Write(inode, at, bytes) => self.inodes[*inode].change(|content| put(content, bytes, *at)),
            Entry::Allocate(inode, len) => {
                self.inodes[*inode].change(|content| content.resize(content.len().max(index(*len)), 0));
            }
            Entry::Truncate(inode, len) => self.inodes[*inode].change(|content| content.resize(index(*len), 0)),
            Entry::GiveBack(inode, offset) => self.inodes[*inode].change(|content| zero(content, *offset)),
            Entry::Sync(inode) => self.inodes[*inode].sync(),
            Entry::Lose(inode, some) => self.inodes[*inode].lose(*some),
            Entry::Note(_) => {}
        }
    }

    /// What it holds for sure, and nothing else.
    pub(super) fn least(&self) -> Image {
        let content = |inode: InodeId| self.inodes[inode].history[0].clone();
        Image(self.names.iter().map(|(name, &inode)| (name.clone(), content(inode))).collect())
    }

    /// What the running system sees.
    pub(super) fn newest(&self) -> Image {
        let content = |inode: InodeId| self.inodes[inode].newest().clone();
        Image(self.current.iter().map(|(name, &inode)| (name.clone(), content(inode))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(entries: &[Entry]) -> Model {
        let mut model = Model::of(&Image::default());
        entries.iter().for_each(|entry| model.apply(entry));
        model
    }

    fn content(bytes: &[u8]) -> Content {
        Arc::new(bytes.to_vec())
    }

    #[test]
    fn only_what_was_synced_is_there_for_sure() {
        let write = |byte: u8| Entry::Write(0, 0, vec![byte; 4].into());
        let made = [Entry::Create("a".into(), 0), write(1), Entry::Sync(0)];
        assert!(model(&made).least().0.is_empty(), "it has no name");
        let named = [&made[..], &[Entry::SyncNames, write(2), Entry::Rename("a".into(), "b".into())]].concat();
        let model = model(&named);
        assert_eq!(model.least().0, BTreeMap::from([("a".into(), content(&[1; 4]))]));
        assert_eq!(model.newest().0, BTreeMap::from([("b".into(), content(&[2; 4]))]));
    }

    #[test]
    fn what_was_lost_is_not_there_after_another_sync() {
        let entries = [
            Entry::Create("a".into(), 0),
            Entry::SyncNames,
            Entry::Write(0, 0, vec![1; 4].into()),
            Entry::Lose(0, 0),
            Entry::Sync(0),
        ];
        assert_eq!(model(&entries).least().0, BTreeMap::from([("a".into(), content(&[]))]));
    }
}

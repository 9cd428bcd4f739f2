//! A snapshot with writers and readers on it, and what it must hold unless somebody scribbled.

use crate::model::{Len, bytes};
use crate::shelf::{SEATS, Scribble, Shelf, SnapshotShape};
use arbitrary::Arbitrary;
use shmlog::{JoinError, LoadError, Pinned, PublishError, SnapshotReader, SnapshotWriter, Wait};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// A value of many kinds, for archives.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Clone, Debug, PartialEq)]
pub struct State {
    name: String,
    levels: Vec<Vec<u32>>,
    notes: BTreeMap<String, u64>,
    parent: Option<Box<u128>>,
}

impl State {
    fn of(salt: u8) -> Self {
        let notes = (0..salt % 5).map(|note| (format!("note {note}"), note.into())).collect();
        let levels = (0..salt % 3).map(|level| vec![level.into(); level.into()]).collect();
        Self { name: "x".repeat(usize::from(salt % 20)), levels, notes, parent: Some(Box::new(salt.into())) }
    }
}

/// How to load.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Way {
    Value,
    Newer,
    Bytes,
    Stamp,
    Archive,
    Wait,
}

/// What is done while a value is pinned.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Meanwhile {
    Publish(bool, Len),
    /// Another reader.
    Load(u8, Way),
    Scribble(Scribble),
    /// A reader pins too, and lets go.
    Pin(u8),
}

/// What a slot holds: version, position, bytes.
type Held = Option<(u64, Option<u64>, Vec<u8>)>;

/// See the module.
pub struct Table {
    shelf: Rc<Shelf>,
    writer: Option<SnapshotWriter>,
    readers: [Option<SnapshotReader>; 3],
    held: [Held; 2],
    /// The last value of each slot was an archive of this.
    archived: [Option<State>; 2],
    is_clean: bool,
    /// A pin took as many attempts as there may be: once is enough.
    is_overtaken: bool,
    pins: u64,
    salt: u8,
}

impl Table {
    pub fn new(shape: SnapshotShape) -> Self {
        Self {
            shelf: Shelf::of(shape),
            writer: None,
            readers: [const { None }; 3],
            held: [None, None],
            archived: [None, None],
            is_clean: true,
            is_overtaken: false,
            pins: 0,
            salt: 0,
        }
    }

    pub fn scribble(&mut self, scribble: &Scribble) {
        self.is_clean &= !scribble.apply(&self.shelf);
    }

    /// Becomes the writer: of one slot, or of all.
    pub fn write(&mut self, of: Option<bool>) {
        self.writer = None;
        let snapshot = &self.shelf.snapshot;
        let writer = of.map_or_else(|| snapshot.writer(), |second| snapshot.writer_of(second.into()));
        let mut writer = writer.expect("nobody else writes");
        writer.set_patience(Duration::ZERO);
        self.writer = Some(writer);
    }

    fn writer(&mut self) -> &mut SnapshotWriter {
        if self.writer.is_none() {
            self.write(None);
        }
        self.writer.as_mut().expect("just made")
    }

    pub fn publish(&mut self, second: bool, len: Len, as_of: Option<u16>, in_place: bool) {
        let values = self.shelf.shape.values;
        let capacity = values.capacity_bytes();
        let len = if values.is_fixed() && matches!(len, Len::Some(_)) { capacity } else { len.of(capacity) };
        self.salt = self.salt.wrapping_add(1);
        let bytes = bytes(self.salt, len).to_vec();
        let as_of = as_of.map(u64::from);
        let published = self.writer().slot(second.into()).and_then(|mut slot| {
            if let Some(seq) = as_of {
                slot = slot.as_of(seq);
            }
            if !in_place {
                return slot.publish_bytes(&bytes);
            }
            slot.publish_with(len, |draft| {
                let half = len / 2;
                draft.write(half, &bytes[half..]);
                draft.write(0, &bytes[..half]);
            })
        });
        self.published(second, published, as_of, bytes, None);
    }

    pub fn publish_archive(&mut self, second: bool) {
        self.salt = self.salt.wrapping_add(1);
        let state = State::of(self.salt);
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&state).expect("plain data").to_vec();
        let published = self.writer().slot(second.into()).and_then(|slot| slot.publish_archive(&state));
        self.published(second, published, None, bytes, Some(state));
    }

    fn published(
        &mut self,
        second: bool,
        published: Result<u64, PublishError>,
        as_of: Option<u64>,
        bytes: Vec<u8>,
        archived: Option<State>,
    ) {
        if !self.is_clean {
            return;
        }
        let held = &mut self.held[usize::from(second)];
        match published {
            Ok(version) => {
                assert!(held.as_ref().is_none_or(|(before, ..)| *before < version), "versions go on");
                *held = Some((version, as_of, bytes));
                self.archived[usize::from(second)] = archived;
            }
            Err(PublishError::Busy { .. }) => assert!(self.pins > 0),
            Err(PublishError::TooLarge { .. } | PublishError::WrongLength { .. }) => {
                let (values, len) = (self.shelf.shape.values, bytes.len());
                assert!(len > values.capacity_bytes() || (values.is_fixed() && len != values.capacity_bytes()));
            }
            // It writes the other slot.
            Err(PublishError::NoSlot { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes a reader in place of the one that is there.
    pub fn join(&mut self, who: u8, second: bool) {
        let reader = self.shelf.snapshot.reader_of(second.into());
        assert!(reader.is_ok() || !self.is_clean);
        self.readers[usize::from(who % 3)] = reader.ok();
    }

    fn reader(&mut self, who: u8) -> Option<SnapshotReader> {
        if self.readers[usize::from(who % 3)].is_none() {
            self.join(who, who & 4 != 0);
        }
        self.readers[usize::from(who % 3)].take()
    }

    pub fn load(&mut self, who: u8, way: Way) {
        let Some(mut reader) = self.reader(who) else { return };
        match way {
            Way::Value => self.check_value(&mut reader),
            Way::Newer => {
                let seen = reader.seen();
                let loaded = reader.load_newer::<[u64; 2]>();
                assert!(!matches!(loaded, Ok(Some(loaded)) if loaded.version == seen && self.is_clean));
            }
            Way::Bytes => self.check_bytes(&mut reader),
            Way::Stamp => self.check_stamp(&mut reader),
            Way::Archive => self.check_archive(&mut reader),
            Way::Wait => {
                reader.set_wait(Wait::Spin);
                let has_newer = reader.wait_unseen(Duration::ZERO);
                assert_eq!(has_newer, reader.version() != reader.seen());
            }
        }
        self.readers[usize::from(who % 3)] = Some(reader);
    }

    fn held(&self, reader: &SnapshotReader) -> &Held {
        &self.held[reader.index()]
    }

    fn check_value(&self, reader: &mut SnapshotReader) {
        let loaded = reader.load::<[u64; 2]>();
        if !self.is_clean {
            return;
        }
        match (loaded, self.held(reader)) {
            (Ok(None), None) => {}
            (Ok(Some(loaded)), Some((version, as_of, bytes))) => {
                let found: Vec<u8> = loaded.value.iter().flat_map(|word| word.to_le_bytes()).collect();
                assert_eq!((loaded.version, loaded.as_of, &found), (*version, *as_of, bytes));
            }
            (Err(LoadError::WrongLength { found_bytes, .. }), Some((.., bytes))) => {
                assert!(found_bytes == bytes.len() as u64 && found_bytes != 16);
            }
            (loaded, held) => panic!("{loaded:?} instead of {held:?}"),
        }
    }

    fn check_bytes(&self, reader: &mut SnapshotReader) {
        let loaded = reader.load_bytes();
        if let Ok(Some(loaded)) = &loaded {
            assert!(loaded.value.len() <= self.shelf.shape.values.capacity_bytes());
        }
        if self.is_clean {
            let loaded = loaded.expect("nobody overtakes it");
            assert_eq!(&loaded.map(|loaded| (loaded.version, loaded.as_of, loaded.value)), self.held(reader));
        }
    }

    fn check_stamp(&self, reader: &mut SnapshotReader) {
        let stamp = reader.stamp();
        if self.is_clean {
            let stamp = stamp.expect("nobody overtakes it").map(|stamp| (stamp.version, stamp.as_of, stamp.len_bytes));
            let held = self.held(reader).as_ref();
            assert_eq!(stamp, held.map(|(version, as_of, bytes)| (*version, *as_of, bytes.len() as u64)));
        }
    }

    fn check_archive(&self, reader: &mut SnapshotReader) {
        let loaded = reader.load_archive::<State>();
        if let (true, Some(state)) = (self.is_clean, &self.archived[reader.index()]) {
            assert_eq!(&*loaded.expect("it is one").expect("it was published"), state);
        }
    }

    /// Pins, does other things, and looks whether what is pinned stayed as it was.
    pub fn pin(&mut self, who: u8, meanwhile: &[Meanwhile]) {
        if self.is_overtaken {
            return;
        }
        let Some(mut reader) = self.reader(who) else { return };
        let held = self.held(&reader).clone();
        match reader.pin() {
            Ok(Some(pinned)) => self.hold(&pinned, &held, meanwhile),
            Ok(None) => assert!(held.is_none() || !self.is_clean),
            Err(LoadError::NoSeat(JoinError::BoardFull { .. })) => {
                // Those that pin are not among the others meanwhile.
                assert!(self.readers.iter().flatten().count() as u64 + self.pins >= SEATS);
            }
            Err(error) => {
                assert!(!self.is_clean, "{error}");
                self.is_overtaken = matches!(error, LoadError::Overtaken { .. });
            }
        }
        self.readers[usize::from(who % 3)] = Some(reader);
    }

    fn hold(&mut self, pinned: &Pinned<'_>, held: &Held, meanwhile: &[Meanwhile]) {
        assert!(pinned.len() <= self.shelf.shape.values.capacity_bytes());
        let before = pinned.to_vec();
        if self.is_clean {
            assert_eq!(&Some((pinned.version(), pinned.as_of(), before.clone())), held);
        }
        self.pins += 1;
        for other in meanwhile.iter().take(6) {
            match other {
                Meanwhile::Publish(second, len) => self.publish(*second, *len, None, false),
                Meanwhile::Load(who, way) => self.load(*who, *way),
                Meanwhile::Scribble(scribble) => self.scribble(scribble),
                Meanwhile::Pin(who) => self.pin(*who, &[]),
            }
        }
        self.pins -= 1;
        let after = pinned.to_vec();
        assert!(after == before || !self.is_clean, "a pinned value stays");
        let (mut few, at) = ([0; 19], usize::from(self.salt));
        let len = pinned.copy_at(at, &mut few);
        assert!(!self.is_clean || few[..len] == after[at.min(after.len())..][..len]);
        let _ = pinned.read::<u64>();
    }

    pub fn set_name(&mut self, second: bool, letters: &str) {
        let other = self.shelf.snapshot.name((!second).into());
        let mine = self.shelf.snapshot.name(second.into());
        let named = self.writer().set_name(second.into(), letters);
        if self.is_clean && named.is_ok() {
            assert_eq!(self.shelf.snapshot.name(second.into()).as_deref(), Some(letters));
            assert_eq!(self.shelf.snapshot.find(letters), Some(second.into()));
            assert!(other.as_deref() != Some(letters) && mine.is_none_or(|mine| mine == letters));
        }
    }

    pub fn look(&self, name: &str) {
        let snapshot = &self.shelf.snapshot;
        let found = snapshot.find(name);
        assert!(found.is_none_or(|index| index < 2));
        assert!(snapshot.names().count() <= 2);
        let info = snapshot.info();
        assert!(info.slots.len() == 2 || !self.is_clean);
    }

    /// Everybody loads; then there is a last publication.
    pub fn end_of_play(mut self) {
        self.look("first");
        for who in 0..3 {
            self.load(who, Way::Bytes);
            self.load(who, Way::Archive);
            self.pin(who, &[]);
        }
        self.publish(false, Len::Some(16), Some(3), false);
        self.load(0, Way::Bytes);
    }
}

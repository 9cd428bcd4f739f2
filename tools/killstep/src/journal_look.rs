//! Looking at a journal behind a victim.

use crate::journal_stage::{FULL, JournalStage};
use crate::journal_table::{Brings, CURSOR, DELETED, LEN, Others, PRUNED};
use crate::record::{Author, bytes};
use anyhow::{Context, Result, ensure};
use shmlog::{Journal, JournalError, Start};

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Records of those who survive, with those that were given up or deleted.
    pub(crate) count: usize,
    /// What the operation brings.
    pub(crate) is_there: bool,
}

impl JournalStage<'_> {
    /// Reads everything, from the front and from the files.
    pub(crate) fn read(&self, journal: &Journal) -> Result<Found> {
        let mut reader = journal.reader(Start::Oldest)?;
        let oldest = journal.oldest();
        let (mut count, mut next) = (usize::try_from(oldest)?, oldest);
        let (mut victims, mut newcomers, mut missing) = (0, 0, Vec::new());
        let [victim, newcomer] = [self.victims(), bytes(Author::Newcomer, 0, LEN)];
        loop {
            let (seq, found) = match reader.try_next() {
                Ok(Some(record)) => (record.seq(), record.bytes().to_vec()),
                Ok(None) => break,
                Err(JournalError::Lost { to, .. }) => (to, Vec::new()),
                Err(error) => return Err(error).with_context(|| format!("reading record {next}")),
            };
            ensure!(seq >= next, "record {seq} behind record {}", next - 1);
            missing.extend(next..seq);
            count += usize::try_from(seq - next)?;
            next = seq;
            if found.is_empty() {
                continue;
            }
            next += 1;
            let len = self.lens.get(count).copied().unwrap_or(0);
            if found == bytes(Author::Survivor, count as u64, len) {
                count += 1;
            } else if found == victim {
                victims += 1;
            } else {
                ensure!(found == newcomer, "record {seq}: nobody's, or at the wrong place");
                newcomers += 1;
            }
        }
        ensure!(count >= self.least, "{count} of {} records are there", self.least);
        ensure!(victims <= 1 && newcomers == u64::from(self.has_newcomer), "{victims} and {newcomers} of others");
        let is_there = self.is_there(journal, victims == 1, oldest, &missing)?;
        Ok(Found { count, is_there })
    }

    /// Whether what the operation brings is there: all of it or nothing; and nothing is gone besides.
    fn is_there(&self, journal: &Journal, has_victims: bool, oldest: u64, missing: &[u64]) -> Result<bool> {
        let brings = self.operation.brings;
        match self.operation.others {
            // The two files that were newest before the operation are kept, or the one behind them.
            Others::SurvivorRecycling => ensure!(oldest > FULL.len() as u64 && oldest <= self.before as u64),
            _ => ensure!(oldest == 0 || (brings == Brings::Pruned && oldest == PRUNED), "{oldest} is the oldest"),
        }
        let lost: &[u64] = match (self.operation.others, brings) {
            (Others::Damaged, _) => &[1 + FULL.len() as u64],
            (_, Brings::Deleted) if !missing.is_empty() => &DELETED,
            _ => &[],
        };
        ensure!(missing == lost, "records {missing:?} are missing");
        let cursors = journal.cursors();
        ensure!(cursors.len() <= usize::from(brings == Brings::Cursor), "cursors: {cursors:?}");
        let cursor = cursors.first().map(|(name, at)| (name.as_str(), *at));
        Ok(match brings {
            Brings::Nothing => false,
            Brings::Record(_) | Brings::RecordBefore(_) => has_victims,
            Brings::Pruned => oldest == PRUNED,
            Brings::Deleted => !missing.is_empty(),
            Brings::Cursor => {
                ensure!(cursor.is_none_or(|(name, at)| name == CURSOR && [0, PRUNED].contains(&at)), "{cursor:?}");
                cursor.is_some_and(|(_, at)| at == PRUNED)
            }
        })
    }

    /// Nothing lies about but what belongs to a journal.
    pub(crate) fn check_names(&self) -> Result<()> {
        for entry in std::fs::read_dir(self.dir())? {
            let name = entry?.file_name();
            let name = name.to_str().context("a name")?;
            let is_known = ["control", "lock", "spare"].iter().any(|known| name.starts_with(known))
                || [".log", ".idx", ".del"].iter().any(|ending| name.ends_with(ending))
                || [".torn-", ".lost-"].iter().any(|aside| name.contains(aside));
            ensure!(is_known, "{name} lies about");
        }
        Ok(())
    }
}

//! `handoff check --checkpoint`: a search that resumes where an earlier one stopped.

use super::Failure;
use crate::check::checkpoint::{self, CheckedInput};
use crate::check::packed::{Packed, PackedSystem};
use crate::scenario::library::text_of;
use handoff_checker::search::{Checkpoint, Exploration, Limits, StopReason, explore_in_runs};
use std::fmt::Display;
use std::io;
use std::path::Path;

/// A check that can be stopped, and the checkpoint file from which it resumes.
pub(super) struct Pause<'a> {
    file: &'a Path,
    name: &'a str,
    scenario: String,
    from: Option<Checkpoint>,
    /// The number of states in the file at the start.
    before: Option<u32>,
    /// The limit that stopped the search, and the result of writing the file.
    stopped: Option<(StopReason, io::Result<()>)>,
}

impl<'a> Pause<'a> {
    /// Reads the file if it exists, and checks that it can be written.
    pub(super) fn begin(name: &'a str, file: &'a Path) -> Result<Self, Failure> {
        let text = text_of(name).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
        let mut pause =
            Self { file, name, scenario: text, from: None, before: None, stopped: None };
        let from = checkpoint::load(file, pause.of()).map_err(|error| pause.refused(&error))?;
        checkpoint::can_save(file).map_err(|error| pause.cannot(&error))?;
        pause.before = from.as_ref().map(Checkpoint::states);
        pause.from = from;
        Ok(pause)
    }

    fn of(&self) -> CheckedInput<'_> {
        CheckedInput { name: self.name, scenario: &self.scenario }
    }

    /// Searches, from the checkpoint if there is one, and writes a checkpoint if a limit stops the
    /// search.
    pub(super) fn search(
        &mut self,
        packed: &PackedSystem<'_>,
        limits: Limits,
    ) -> Result<Exploration<Packed>, Failure> {
        let searched = explore_in_runs(packed, packed, limits, self.from.take());
        let (found, left) = searched.map_err(|error| self.refused(&error))?;
        let saved = left.map(|left| checkpoint::save(&left, self.of(), self.file));
        self.stopped = found.cut.zip(saved);
        Ok(found)
    }

    /// Returns notes on the checkpoint. Removes the file after a complete search.
    pub(super) fn end(self) -> Result<Vec<String>, Failure> {
        let file = self.file.display();
        let resumed = |before| format!("resumed from {file}, with {before} states");
        let mut notes: Vec<_> = self.before.map(resumed).into_iter().collect();
        match &self.stopped {
            Some((_, Err(error))) => return Err(self.cannot(error)),
            Some((StopReason::Time(_), Ok(()))) => {
                notes.push(format!("stopped; run the same command to resume from {file}"));
            }
            Some((_, Ok(()))) => notes.push(format!(
                "stopped; run the same command with a higher limit to resume from {file}"
            )),
            None if self.before.is_some() => {
                std::fs::remove_file(self.file).map_err(|error| self.cannot(&error))?;
                notes.push(format!("the search is complete; removed {file}"));
            }
            None => {}
        }
        Ok(notes)
    }

    fn cannot(&self, error: &dyn Display) -> Failure {
        Failure::Usage(format!("{}: {error}", self.file.display()))
    }

    fn refused(&self, error: &dyn Display) -> Failure {
        let file = self.file.display();
        Failure::Usage(format!("{file}: cannot resume: {error}; remove it to start again"))
    }
}
